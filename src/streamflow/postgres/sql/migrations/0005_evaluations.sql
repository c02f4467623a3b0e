-- Versions judged on a month after their training: what came true. Append-only. Two figures say
-- which version is better only where their rows have the same hash.
CREATE TABLE streamflow.evaluations (
    evaluation_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model              text        NOT NULL,
    version            integer     NOT NULL,
    run_id             text        NOT NULL,
    model_hash         text        NOT NULL,
    as_of              date        NOT NULL,
    known_at           timestamptz NOT NULL,
    evaluated_at       timestamptz NOT NULL,
    evaluated_by       text        NOT NULL,
    rows               bigint      NOT NULL,
    positives          bigint      NOT NULL,
    trained_on         bigint,               -- rows that training had seen; null: can't be told
    rows_hash          text        NOT NULL,  -- over each row's as_of, entity and label
    data_hash          text        NOT NULL,  -- over each row's entity, features and label
    figures            jsonb       NOT NULL,
    written_at         timestamptz DEFAULT clock_timestamp(),
    written_by         text        DEFAULT session_user
);
