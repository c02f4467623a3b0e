-- Events, from which features of a month are aggregated: a table for each use case's table of them.
-- Append-only, as history is, and without a key, because the same event may happen twice.
-- `columns` is a JSON array of pairs: a name and a type of PostgreSQL.
CREATE FUNCTION streamflow.create_events(
    use_case text, events text, key text, time_column text, columns json
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unknown     text;
    definitions text;
BEGIN
    IF use_case IN ('streamflow', 'feast', 'online', 'mlflow', 'public', 'information_schema')
        OR starts_with(use_case, 'pg_') OR right(events, 7) <> '_events' THEN
        RAISE EXCEPTION 'the table %.% is not for events', use_case, events
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT min(pair ->> 1)
    INTO unknown
    FROM json_array_elements(columns) AS given (pair)
    WHERE pair ->> 1 NOT IN (
        'text', 'bigint', 'double precision', 'boolean', 'date', 'timestamp with time zone');
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'events have no columns of the type %', unknown
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF to_regclass(format('%I.%I', use_case, events)) IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT string_agg(format(', %I %s', pair ->> 0, pair ->> 1), '' ORDER BY place)
    INTO definitions
    FROM json_array_elements(columns) WITH ORDINALITY AS given (pair, place);
    EXECUTE format(
        'CREATE TABLE %1$I.%2$I (
            %3$I         text        NOT NULL,
            recorded_at  timestamptz NOT NULL,
            ingestion_id bigint      NOT NULL
            %4$s
        )',
        use_case, events, key, coalesce(definitions, '')
    );
    EXECUTE format(
        'ALTER TABLE %I.%I ALTER COLUMN %I SET NOT NULL', use_case, events, time_column);
    -- Events come month by month, so that an index of a few pages leaves out the other months.
    EXECUTE format(
        'CREATE INDEX ON %I.%I USING brin (%I) WITH (pages_per_range = 32, autosummarize = on)',
        use_case, events, time_column
    );
END
$$;

REVOKE ALL ON FUNCTION streamflow.create_events(text, text, text, text, json) FROM PUBLIC;
