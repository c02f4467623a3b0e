-- Each month of a history is a partition of its own: its rows are copied into it before it has a key,
-- which is then made at once. Put into one index for all months, a row costs as much as all else.

-- As before; a partition's rows are told as those of its history.
CREATE OR REPLACE FUNCTION streamflow.record_rewritten_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    IF TG_OP <> 'INSERT' OR coalesce(current_setting('streamflow.ingesting', true), '') = '' THEN
        SELECT relname INTO name
        FROM pg_inherits JOIN pg_class ON pg_class.oid = inhparent
        WHERE inhrelid = TG_RELID;
        INSERT INTO streamflow.rewritten_history AS known (use_case, history)
        VALUES (TG_TABLE_SCHEMA, coalesce(name, TG_TABLE_NAME))
        ON CONFLICT (use_case, history)
        DO UPDATE SET times = known.times + 1, rewritten_at = clock_timestamp();
    END IF;
    RETURN NULL;
END
$$;

-- Raise an error if the schema is no use case's.
CREATE FUNCTION streamflow.require_use_case(use_case text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF use_case IN ('streamflow', 'feast', 'online', 'mlflow', 'public', 'information_schema')
        OR starts_with(use_case, 'pg_') THEN
        RAISE EXCEPTION 'the schema % is not for history', use_case
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;

-- Raise an error if no history can have this name.
CREATE FUNCTION streamflow.require_history(use_case text, history text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM streamflow.require_use_case(use_case);
    IF right(history, 8) <> '_history' THEN
        RAISE EXCEPTION 'the table %.% is not for history', use_case, history
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;

-- Record what is written to the table of a history, or to a partition, past our commands.
CREATE FUNCTION streamflow.watch_history(history regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER rewritten AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s
         FOR EACH STATEMENT EXECUTE FUNCTION streamflow.record_rewritten_history()',
        history
    );
END
$$;

-- As before, with a partition for each month and without a key of all months: no two partitions have
-- rows of one as_of, so that the keys of partitions are one.
CREATE OR REPLACE FUNCTION streamflow.create_history(use_case text, history text, key text, columns json)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unknown     text;
    definitions text;
BEGIN
    PERFORM streamflow.require_history(use_case, history);
    SELECT min(pair ->> 1)
    INTO unknown
    FROM json_array_elements(columns) AS given (pair)
    WHERE pair ->> 1 NOT IN ('text', 'bigint', 'double precision', 'boolean', 'date');
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'history has no columns of the type %', unknown
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF to_regclass(format('%I.%I', use_case, history)) IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT string_agg(format(', %I %s', pair ->> 0, pair ->> 1), '' ORDER BY place)
    INTO definitions
    FROM json_array_elements(columns) WITH ORDINALITY AS given (pair, place);
    EXECUTE format(
        'CREATE TABLE %1$I.%2$I (
            %3$I            text        NOT NULL,
            as_of           date        NOT NULL,
            event_timestamp timestamptz NOT NULL
                GENERATED ALWAYS AS
                    (((as_of + 1)::timestamp - interval ''1 microsecond'') AT TIME ZONE ''UTC'') STORED,
            recorded_at     timestamptz NOT NULL,
            ingestion_id    bigint      NOT NULL
            %4$s
        ) PARTITION BY RANGE (as_of)',
        use_case, history, key, coalesce(definitions, '')
    );
    PERFORM streamflow.watch_history(format('%I.%I', use_case, history)::regclass);
END
$$;

-- As before; history's key is one of the columns that can't be null.
CREATE OR REPLACE FUNCTION streamflow.change_history(
    use_case text, history text, kind text, column_name text, before text, type text
)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    exceeding bigint;
BEGIN
    PERFORM streamflow.require_use_case(use_case);
    IF type NOT IN ('text', 'bigint', 'double precision', 'boolean', 'date') THEN
        RAISE EXCEPTION 'history has no columns of the type %', type
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = format('%I.%I', use_case, history)::regclass
          AND attname = CASE kind WHEN 'renamed' THEN before ELSE column_name END
          AND (attnotnull AND right(history, 8) = '_history'
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

-- The name of a partition, with an ending of at most 9 bytes; a long name would be cut off.
CREATE FUNCTION streamflow.partition_name(history text, ending text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN CASE WHEN octet_length(history) <= 54 THEN history ELSE md5(history) END || ending;
END
$$;

-- The name of the partition with a month's rows.
CREATE FUNCTION streamflow.month_table(history text, month date) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN streamflow.partition_name(history, to_char(month, '_YYYYMMDD'));
END
$$;

-- The partition that takes rows of the month; null if none does.
CREATE FUNCTION streamflow.month_partition(use_case text, history text, month date) RETURNS regclass
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one   record;
    taken boolean;
BEGIN
    FOR one IN
        SELECT inhrelid::regclass AS part, pg_get_partition_constraintdef(inhrelid) AS bounds
        FROM pg_inherits
        WHERE inhparent = format('%I.%I', use_case, history)::regclass
    LOOP
        EXECUTE format('SELECT %s FROM (VALUES (%L::date)) AS row (as_of)', one.bounds, month)
        INTO taken;
        IF taken THEN
            RETURN one.part;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- Make a table for the rows of a month that history doesn't have: the key, the columns of the
-- contract and `line`. It isn't part of history yet. Returns its name, null if a partition takes rows
-- of the month.
CREATE FUNCTION streamflow.begin_month(use_case text, history text, month date) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    name        text := streamflow.month_table(history, month);
    definitions text;
BEGIN
    PERFORM streamflow.require_history(use_case, history);
    IF streamflow.month_partition(use_case, history, month) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
    INTO definitions
    FROM pg_attribute
    WHERE attrelid = format('%I.%I', use_case, history)::regclass AND attnum > 0
      AND NOT attisdropped
      AND attname NOT IN ('as_of', 'event_timestamp', 'recorded_at', 'ingestion_id');
    -- By the checks, a query of another time leaves the partition out.
    EXECUTE format(
        'CREATE TABLE %1$I.%2$I (
            line            bigint,
            as_of           date        NOT NULL DEFAULT %3$L CHECK (as_of = %3$L),
            event_timestamp timestamptz NOT NULL
                GENERATED ALWAYS AS
                    (((as_of + 1)::timestamp - interval ''1 microsecond'') AT TIME ZONE ''UTC'') STORED
                CHECK (event_timestamp = %4$L),
            %5$s
        )',
        use_case, name, month, (month + 1)::timestamp - interval '1 microsecond', definitions
    );
    -- Rows of who was forgotten are taken out before they are history.
    IF session_user <> current_user THEN
        EXECUTE format('GRANT DELETE ON %I.%I TO %I', use_case, name, session_user);
    END IF;
    RETURN name;
END
$$;

-- Give all rows of that table their recorded_at, a key and statistics. False if a key is there twice,
-- a row has none, or one is longer than an index takes; the table has no key then.
CREATE FUNCTION streamflow.key_month(
    use_case text, history text, month date, key text, recorded_at timestamptz
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET maintenance_work_mem = '128MB' AS $$
DECLARE
    name text := streamflow.month_table(history, month);
BEGIN
    PERFORM streamflow.require_history(use_case, history);
    EXECUTE format('ANALYZE %I.%I', use_case, name);
    -- What a new column is added with is written once, not in each row.
    EXECUTE format(
        'ALTER TABLE %I.%I ADD COLUMN recorded_at timestamptz NOT NULL DEFAULT %L',
        use_case, name, recorded_at
    );
    BEGIN
        EXECUTE format(
            'ALTER TABLE %I.%I ADD PRIMARY KEY (%I, event_timestamp, recorded_at)',
            use_case, name, key
        );
    EXCEPTION WHEN unique_violation OR not_null_violation OR program_limit_exceeded THEN
        RETURN false;
    END;
    RETURN true;
END
$$;

-- Make the table with the key a partition of history: with the transaction, all see its rows.
CREATE FUNCTION streamflow.finish_month(use_case text, history text, month date, ingestion_id bigint)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text := streamflow.month_table(history, month);
BEGIN
    PERFORM streamflow.require_history(use_case, history);
    IF NOT EXISTS (
        SELECT FROM pg_index WHERE indrelid = format('%I.%I', use_case, name)::regclass AND indisprimary
    ) THEN
        RAISE EXCEPTION 'the table %.% has no key', use_case, name;
    END IF;
    EXECUTE format(
        'ALTER TABLE %1$I.%2$I
            DROP COLUMN line,
            ADD COLUMN ingestion_id bigint NOT NULL DEFAULT %3$s,
            ALTER COLUMN as_of DROP DEFAULT,
            ALTER COLUMN recorded_at DROP DEFAULT',
        use_case, name, ingestion_id
    );
    EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN ingestion_id DROP DEFAULT', use_case, name);
    PERFORM streamflow.watch_history(format('%I.%I', use_case, name)::regclass);
    EXECUTE format(
        'ALTER TABLE %I.%I ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)',
        use_case, history, use_case, name, month, month + 1
    );
    IF session_user <> current_user THEN
        EXECUTE format('REVOKE DELETE ON %I.%I FROM %I', use_case, name, session_user);
    END IF;
END
$$;

-- A partition without rows, if none takes those of the month.
CREATE FUNCTION streamflow.create_month(use_case text, history text, month date, key text)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF streamflow.begin_month(use_case, history, month) IS NOT NULL THEN
        PERFORM streamflow.key_month(use_case, history, month, key, clock_timestamp());
        PERFORM streamflow.finish_month(use_case, history, month, 0);
    END IF;
END
$$;

-- Statistics of the partition that takes the month's rows, if one does.
CREATE FUNCTION streamflow.analyze_month(use_case text, history text, month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part regclass;
BEGIN
    PERFORM streamflow.require_history(use_case, history);
    part := streamflow.month_partition(use_case, history, month);
    IF part IS NOT NULL THEN  -- of no table, it would be of the whole database
        EXECUTE format('ANALYZE %s', part);
    END IF;
END
$$;

-- Statistics of a table of events, or over all partitions of a history, of a sample; before PostgreSQL
-- 18, each partition has its own made with them. What isn't of one month has an index by time, into
-- which the pages that were appended come.
CREATE OR REPLACE FUNCTION streamflow.analyze_history(use_case text, history text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    whole regclass := format('%I.%I', use_case, history);
BEGIN
    PERFORM brin_summarize_new_values(pg_index.indexrelid)
    FROM pg_index
    JOIN pg_class ON pg_class.oid = pg_index.indexrelid
    JOIN pg_am ON pg_am.oid = pg_class.relam
    WHERE pg_am.amname = 'brin'
      AND (pg_index.indrelid = whole
           OR pg_index.indrelid IN (SELECT relid FROM pg_partition_tree(whole)));
    EXECUTE format(
        'ANALYZE %s %I.%I',
        CASE WHEN current_setting('server_version_num')::integer >= 180000 THEN 'ONLY' END,
        use_case, history
    );
END
$$;

REVOKE ALL ON FUNCTION
    streamflow.require_use_case(text), streamflow.require_history(text, text),
    streamflow.watch_history(regclass), streamflow.partition_name(text, text),
    streamflow.month_table(text, date),
    streamflow.month_partition(text, text, date), streamflow.begin_month(text, text, date),
    streamflow.key_month(text, text, date, text, timestamptz),
    streamflow.finish_month(text, text, date, bigint),
    streamflow.create_month(text, text, date, text), streamflow.analyze_month(text, text, date)
    FROM PUBLIC;

-- The months of before stay together, as the partition of all times up to the newest of them.
DO $$
DECLARE
    one       record;
    permitted record;
    before    text;
    newest    date;
BEGIN
    FOR one IN
        SELECT pg_class.oid, nspname, relname, pg_get_userbyid(relowner) AS owner
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relkind = 'r' AND right(relname, 8) = '_history'
          AND attname IN ('as_of', 'event_timestamp', 'recorded_at', 'ingestion_id')
        GROUP BY pg_class.oid, nspname, relname, relowner
        HAVING count(*) = 4
    LOOP
        before := streamflow.partition_name(one.relname, '_before');
        EXECUTE format('ALTER TABLE %I.%I RENAME TO %I', one.nspname, one.relname, before);
        EXECUTE format(
            'CREATE TABLE %1$I.%2$I (LIKE %1$I.%3$I INCLUDING GENERATED) PARTITION BY RANGE (as_of)',
            one.nspname, one.relname, before
        );
        IF one.owner <> current_user THEN
            EXECUTE format('ALTER TABLE %I.%I OWNER TO %I', one.nspname, one.relname, one.owner);
        END IF;
        FOR permitted IN
            SELECT privilege_type, grantee
            FROM aclexplode((SELECT relacl FROM pg_class WHERE oid = one.oid))
            WHERE grantee <> 0
        LOOP
            EXECUTE format(
                'GRANT %s ON %I.%I TO %I', permitted.privilege_type, one.nspname, one.relname,
                pg_get_userbyid(permitted.grantee)
            );
        END LOOP;
        PERFORM streamflow.watch_history(format('%I.%I', one.nspname, one.relname)::regclass);
        EXECUTE format('SELECT max(as_of) FROM %I.%I', one.nspname, before) INTO newest;
        IF newest IS NULL THEN
            EXECUTE format('DROP TABLE %I.%I', one.nspname, before);
            CONTINUE;
        END IF;
        EXECUTE format(
            'ALTER TABLE %1$I.%2$I ATTACH PARTITION %1$I.%3$I FOR VALUES FROM (MINVALUE) TO (%4$L)',
            one.nspname, one.relname, before, newest + 1
        );
    END LOOP;
END
$$;
