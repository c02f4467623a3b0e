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
