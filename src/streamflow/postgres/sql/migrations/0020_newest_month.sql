-- The end of the newest month that the view has online after it: what was withdrawn isn't any more.
-- Null in rows of before, which stand for the newest that any of them copied.
ALTER TABLE streamflow.materializations ADD COLUMN newest timestamptz;

-- Of those who were ever in the entity table, how many the newest month lacks, and how many of these
-- have departed (null: the use case has no rule), as a materialization left it. Append-only.
CREATE TABLE streamflow.absent_entities (
    use_case   text        NOT NULL,
    month      date        NOT NULL,
    entities   bigint      NOT NULL,
    absent     bigint      NOT NULL,
    departed   bigint,
    counted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON streamflow.absent_entities (use_case, counted_at);
