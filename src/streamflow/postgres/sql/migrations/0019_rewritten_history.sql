-- Rows of history that were written past our commands, by plain SQL: copies of history are made anew
-- then. An ingestion says that it is one; it adds files to a copy.
CREATE TABLE streamflow.rewritten_history (
    use_case     text        NOT NULL,
    history      text        NOT NULL,
    times        bigint      NOT NULL DEFAULT 1,
    rewritten_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (use_case, history)
);

CREATE FUNCTION streamflow.record_rewritten_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' OR coalesce(current_setting('streamflow.ingesting', true), '') = '' THEN
        INSERT INTO streamflow.rewritten_history AS known (use_case, history)
        VALUES (TG_TABLE_SCHEMA, TG_TABLE_NAME)
        ON CONFLICT (use_case, history)
        DO UPDATE SET times = known.times + 1, rewritten_at = clock_timestamp();
    END IF;
    RETURN NULL;
END
$$;

DO $$
DECLARE
    history oid;
BEGIN
    FOR history IN
        SELECT attrelid
        FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid
        WHERE relkind = 'r' AND right(relname, 8) = '_history'
          AND attname IN ('as_of', 'event_timestamp', 'recorded_at', 'ingestion_id')
        GROUP BY attrelid
        HAVING count(*) = 4
    LOOP
        EXECUTE format(
            'CREATE TRIGGER rewritten AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s
             FOR EACH STATEMENT EXECUTE FUNCTION streamflow.record_rewritten_history()',
            history::regclass
        );
    END LOOP;
END
$$;

-- As before, with the trigger.
CREATE OR REPLACE FUNCTION streamflow.create_history(use_case text, history text, key text, columns json)
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
    IF NOT EXISTS (
        SELECT FROM pg_index
        JOIN pg_class ON pg_class.oid = pg_index.indexrelid
        JOIN pg_am ON pg_am.oid = pg_class.relam
        WHERE pg_index.indrelid = format('%I.%I', use_case, history)::regclass
          AND pg_am.amname = 'brin'
    ) THEN
        EXECUTE format(
            'CREATE INDEX ON %I.%I USING brin (event_timestamp, as_of)
             WITH (pages_per_range = 32, autosummarize = on)',
            use_case, history
        );
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = format('%I.%I', use_case, history)::regclass AND tgname = 'rewritten'
    ) THEN
        EXECUTE format(
            'CREATE TRIGGER rewritten AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I.%I
             FOR EACH STATEMENT EXECUTE FUNCTION streamflow.record_rewritten_history()',
            use_case, history
        );
    END IF;
END
$$;
