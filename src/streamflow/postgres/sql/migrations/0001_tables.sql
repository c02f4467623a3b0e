-- What StreamFlow itself keeps. History tables are made from the use case's contracts at ingestion.
-- Every table here is append-only: the program inserts, and never updates or deletes.

CREATE SCHEMA IF NOT EXISTS streamflow;
CREATE SCHEMA IF NOT EXISTS feast;
CREATE SCHEMA IF NOT EXISTS online;
CREATE SCHEMA IF NOT EXISTS mlflow;

CREATE TABLE IF NOT EXISTS streamflow.ingestions (
    ingestion_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    use_case     text        NOT NULL,
    as_of        date        NOT NULL,
    recorded_at  timestamptz NOT NULL,
    ingested_at  timestamptz NOT NULL,
    ingested_by  text        NOT NULL,
    tables       jsonb       NOT NULL  -- per table: file, sha256, rows, added, unchanged, absent
);

CREATE TABLE IF NOT EXISTS streamflow.materializations (
    use_case        text        NOT NULL,
    feature_view    text        NOT NULL,
    as_of           date        NOT NULL,
    event_timestamp timestamptz NOT NULL,
    known_at        timestamptz NOT NULL,
    rows            bigint      NOT NULL,
    seconds         double precision NOT NULL
);

CREATE TABLE IF NOT EXISTS streamflow.promotions (
    promotion_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    promoted_at  timestamptz NOT NULL,
    promoted_by  text        NOT NULL,
    model        text        NOT NULL,
    version      integer     NOT NULL,
    action       text        NOT NULL CHECK (action IN ('promote', 'rollback')),
    from_stage   text        NOT NULL,
    to_stage     text        NOT NULL,
    replaced     integer,                -- the version that was in to_stage before, if any
    why          text        NOT NULL,
    verdict      jsonb       NOT NULL    -- what each gate said
);

-- A prediction made before a materialization had ended may have been given what was online before.
ALTER TABLE streamflow.materializations ADD COLUMN IF NOT EXISTS finished_at timestamptz;
ALTER TABLE streamflow.materializations ALTER COLUMN finished_at SET DEFAULT clock_timestamp();

CREATE TABLE IF NOT EXISTS streamflow.served_models (
    served_model uuid    PRIMARY KEY,  -- the first half of the SHA-256 of what follows
    model        text    NOT NULL,
    version      integer NOT NULL,
    run_id       text    NOT NULL,
    stage        text    NOT NULL,
    model_hash   text    NOT NULL,
    features     json    NOT NULL      -- per feature its name, feature view and type, in order
);

-- The prediction log, in partitions of a day (UTC), which those who write make ahead and drop when
-- they are older than STREAMFLOW_PREDICTION_LOG_DAYS.
CREATE TABLE IF NOT EXISTS streamflow.predictions (
    predicted_at  timestamptz NOT NULL,
    served_model  uuid        NOT NULL,
    prediction    smallint,
    probability   double precision,
    request_id    text        NOT NULL,
    entity_id     text        NOT NULL,
    feature_times timestamptz[],  -- per feature view, in the order of the model's features
    features      json,           -- values in the order of the model's features
    problem       text            -- why there is no prediction
) PARTITION BY RANGE (predicted_at);
CREATE INDEX IF NOT EXISTS predictions_request_id ON streamflow.predictions USING hash (request_id);
