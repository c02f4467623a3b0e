-- What the version in Staging scored beside the one that answered: the prediction log's second table.
-- No reader of `predictions` can take a shadow score for an answer, because none is in there.
-- In partitions of a day (UTC), which are made and dropped with those of `predictions`.
CREATE TABLE streamflow.shadow_scores (
    predicted_at       timestamptz NOT NULL,  -- with both ids: the row of `predictions`
    answered_by        uuid        NOT NULL,  -- the served model whose answer was sent
    prediction         smallint,
    probability        double precision,
    problem            text,                  -- why it had no prediction
    shadow             uuid        NOT NULL,  -- the served model that scored beside it
    shadow_prediction  smallint,
    shadow_probability double precision,
    shadow_problem     text,
    request_id         text        NOT NULL,
    entity_id          text        NOT NULL
) PARTITION BY RANGE (predicted_at);

CREATE OR REPLACE FUNCTION streamflow.create_prediction_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parent text;
    name   text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['predictions', 'shadow_scores'] LOOP
        name := parent || '_' || to_char(day, 'YYYYMMDD');
        -- Made aside and attached: created as a partition it would wait for every reader of the log.
        EXECUTE format('CREATE TABLE streamflow.%I (LIKE streamflow.%I)', name, parent);
        EXECUTE format(
            'ALTER TABLE streamflow.%I ATTACH PARTITION streamflow.%I FOR VALUES FROM (%L) TO (%L)',
            parent, name,
            day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC'
        );
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION streamflow.drop_prediction_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - 1 THEN
        RAISE EXCEPTION 'the prediction log of % is too new to be dropped', day
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    EXECUTE format('DROP TABLE streamflow.%I', 'predictions_' || to_char(day, 'YYYYMMDD'));
    EXECUTE format('DROP TABLE streamflow.%I', 'shadow_scores_' || to_char(day, 'YYYYMMDD'));
END
$$;

-- The days that have a partition of `predictions` already.
DO $$
DECLARE
    day date;
BEGIN
    FOR day IN
        SELECT to_date(right(partition.relname, 8), 'YYYYMMDD')
        FROM pg_inherits
        JOIN pg_class AS partition ON partition.oid = inhrelid
        WHERE inhparent = 'streamflow.predictions'::regclass
            AND partition.relname ~ '^predictions_\d{8}$'
    LOOP
        EXECUTE format(
            'CREATE TABLE streamflow.%I PARTITION OF streamflow.shadow_scores FOR VALUES FROM (%L) TO (%L)',
            'shadow_scores_' || to_char(day, 'YYYYMMDD'),
            day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC'
        );
    END LOOP;
END
$$;
