-- History follows the contracts of its tables: a column that is new is added, one with a new name is
-- renamed, whole numbers may become numbers. No row is changed by it, and nothing is dropped.

CREATE TABLE streamflow.history_changes (
    change_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    use_case    text        NOT NULL,
    history     text        NOT NULL,  -- the table
    kind        text        NOT NULL CHECK (kind IN ('added', 'renamed', 'widened')),
    column_name text        NOT NULL,  -- after the change
    before      text,                  -- the name or the type that it had
    type        text        NOT NULL,
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by  text        NOT NULL DEFAULT session_user
);

-- Whoever may ingest may change history in these ways alone.
CREATE FUNCTION streamflow.change_history(
    use_case text, history text, kind text, column_name text, before text, type text
)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    exceeding bigint;
BEGIN
    IF use_case IN ('streamflow', 'feast', 'online', 'mlflow', 'public', 'information_schema')
        OR starts_with(use_case, 'pg_') THEN
        RAISE EXCEPTION 'the schema % is not for history', use_case
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF type NOT IN ('text', 'bigint', 'double precision', 'boolean', 'date') THEN
        RAISE EXCEPTION 'history has no columns of the type %', type
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF EXISTS (
        SELECT FROM pg_attribute
        LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary
        WHERE attrelid = format('%I.%I', use_case, history)::regclass
          AND attname = CASE kind WHEN 'renamed' THEN before ELSE column_name END
          AND (attnum = ANY (indkey)
               OR attname IN ('as_of', 'event_timestamp', 'recorded_at', 'ingestion_id'))
    ) THEN
        RAISE EXCEPTION 'this column of history stays as it is'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    CASE kind
    WHEN 'added' THEN
        EXECUTE format('ALTER TABLE %I.%I ADD COLUMN %I %s', use_case, history, column_name, type);
    WHEN 'renamed' THEN
        EXECUTE format(
            'ALTER TABLE %I.%I RENAME COLUMN %I TO %I', use_case, history, before, column_name
        );
    WHEN 'widened' THEN
        IF before <> 'bigint' OR type <> 'double precision' THEN
            RAISE EXCEPTION '% does not hold every %', type, before
                USING ERRCODE = 'insufficient_privilege';
        END IF;
        EXECUTE format(
            'SELECT count(*) FROM %1$I.%2$I
             WHERE %3$I NOT BETWEEN -9007199254740992 AND 9007199254740992',
            use_case, history, column_name
        ) INTO exceeding;
        IF exceeding > 0 THEN
            RAISE EXCEPTION '% values are beyond 2^53', exceeding
                USING ERRCODE = 'numeric_value_out_of_range';
        END IF;
        EXECUTE format(
            'ALTER TABLE %I.%I ALTER COLUMN %I TYPE double precision', use_case, history, column_name
        );
    END CASE;
    INSERT INTO streamflow.history_changes (use_case, history, kind, column_name, before, type)
    VALUES (use_case, history, kind, column_name, before, type);
END
$$;

REVOKE ALL ON FUNCTION streamflow.change_history(text, text, text, text, text, text) FROM PUBLIC;
