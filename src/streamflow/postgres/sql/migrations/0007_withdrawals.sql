-- What isn't known any more. History keeps its rows: these tables say from when on they don't count,
-- so that what was known before stays what it was. Append-only.

-- All that an ingestion added, its absences among it, doesn't count from `recorded_at` on.
CREATE TABLE streamflow.withdrawals (
    ingestion_id bigint      PRIMARY KEY REFERENCES streamflow.ingestions,
    recorded_at  timestamptz NOT NULL,
    withdrawn_by text        NOT NULL,
    why          text        NOT NULL,
    tables       jsonb       NOT NULL,  -- per table: entities, absences
    written_at   timestamptz DEFAULT clock_timestamp(),
    written_by   text        DEFAULT session_user
);

-- Entities that a complete file hadn't: no row of theirs at that event time that was recorded before
-- counts from `recorded_at` on.
CREATE TABLE streamflow.absences (
    use_case        text        NOT NULL,
    history         text        NOT NULL,  -- the table
    entity          text        NOT NULL,
    event_timestamp timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL,
    ingestion_id    bigint      NOT NULL,
    PRIMARY KEY (use_case, history, entity, event_timestamp, recorded_at)
);
