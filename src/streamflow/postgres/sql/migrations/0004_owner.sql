-- Where there are roles, a role that nobody logs in as owns history and the tables of this schema.
-- What others may do with them beyond appending, they do by these functions, which check it.

-- When and by whom a line was written, by the server; what else is in it, the writer says.
ALTER TABLE streamflow.ingestions
    ADD COLUMN written_at timestamptz,
    ADD COLUMN written_by text;
ALTER TABLE streamflow.ingestions
    ALTER COLUMN written_at SET DEFAULT clock_timestamp(),
    ALTER COLUMN written_by SET DEFAULT session_user;
ALTER TABLE streamflow.promotions
    ADD COLUMN written_at timestamptz,
    ADD COLUMN written_by text;
ALTER TABLE streamflow.promotions
    ALTER COLUMN written_at SET DEFAULT clock_timestamp(),
    ALTER COLUMN written_by SET DEFAULT session_user;

-- `columns` is a JSON array of pairs: a name and a type of PostgreSQL.
CREATE FUNCTION streamflow.create_history(use_case text, history text, key text, columns json)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unknown     text;
    definitions text;
BEGIN
    IF use_case IN ('streamflow', 'feast', 'online', 'mlflow', 'public', 'information_schema')
        OR starts_with(use_case, 'pg_') THEN
        RAISE EXCEPTION 'the schema % is not for history', use_case
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT min(pair ->> 1)
    INTO unknown
    FROM json_array_elements(columns) AS given (pair)
    WHERE pair ->> 1 NOT IN ('text', 'bigint', 'double precision', 'boolean', 'date');
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'history has no columns of the type %', unknown
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT string_agg(format(', %I %s', pair ->> 0, pair ->> 1), '' ORDER BY place)
    INTO definitions
    FROM json_array_elements(columns) WITH ORDINALITY AS given (pair, place);
    EXECUTE format(
        'CREATE TABLE IF NOT EXISTS %1$I.%2$I (
            %3$I            text        NOT NULL,
            as_of           date        NOT NULL,
            event_timestamp timestamptz NOT NULL
                GENERATED ALWAYS AS
                    (((as_of + 1)::timestamp - interval ''1 microsecond'') AT TIME ZONE ''UTC'') STORED,
            recorded_at     timestamptz NOT NULL,
            ingestion_id    bigint      NOT NULL
            %4$s,
            PRIMARY KEY (%3$I, event_timestamp, recorded_at)
        )',
        use_case, history, key, coalesce(definitions, '')
    );
END
$$;

-- Only the owner of a table may gather its statistics.
CREATE FUNCTION streamflow.analyze_history(use_case text, history text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ANALYZE %I.%I', use_case, history);
END
$$;

-- The log of today and of yesterday stays, whatever STREAMFLOW_PREDICTION_LOG_DAYS says.
CREATE OR REPLACE FUNCTION streamflow.drop_prediction_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - 1 THEN
        RAISE EXCEPTION 'the prediction log of % is too new to be dropped', day
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    EXECUTE format('DROP TABLE streamflow.%I', 'predictions_' || to_char(day, 'YYYYMMDD'));
END
$$;

REVOKE ALL ON FUNCTION streamflow.create_history(text, text, text, json) FROM PUBLIC;
REVOKE ALL ON FUNCTION streamflow.analyze_history(text, text) FROM PUBLIC;
