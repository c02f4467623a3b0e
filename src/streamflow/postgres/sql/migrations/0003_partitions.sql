-- Who appends to the prediction log makes partitions of it, and needn't own it for that: these
-- functions do it as their owner, for whoever is granted them.

CREATE FUNCTION streamflow.create_prediction_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text := 'predictions_' || to_char(day, 'YYYYMMDD');
BEGIN
    -- Made aside and attached: created as a partition it would wait for every reader of the log.
    EXECUTE format('CREATE TABLE streamflow.%I (LIKE streamflow.predictions)', name);
    EXECUTE format(
        'ALTER TABLE streamflow.predictions ATTACH PARTITION streamflow.%I FOR VALUES FROM (%L) TO (%L)',
        name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC'
    );
END
$$;

CREATE FUNCTION streamflow.drop_prediction_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('DROP TABLE streamflow.%I', 'predictions_' || to_char(day, 'YYYYMMDD'));
END
$$;

REVOKE ALL ON FUNCTION streamflow.create_prediction_partition(date) FROM PUBLIC;
REVOKE ALL ON FUNCTION streamflow.drop_prediction_partition(date) FROM PUBLIC;
