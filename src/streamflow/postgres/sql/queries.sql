-- Named queries. {…} are identifiers, %(…)s are values; nothing else is ever put into SQL. A per cent
-- sign is written %%.

-- name: lock_migration
SELECT pg_advisory_xact_lock(hashtext('streamflow schema'))

-- name: migrations_exist
SELECT to_regclass('streamflow.migrations') IS NOT NULL AS exists

-- name: migrations
SELECT number, name, sha256 FROM streamflow.migrations ORDER BY number

-- name: record_migration
INSERT INTO streamflow.migrations (number, name, sha256)
VALUES (%(number)s, %(name)s, %(sha256)s)

-- name: current_database
SELECT current_database() AS name

-- name: roles
SELECT rolname AS name, rolcanlogin AS may_connect
FROM pg_roles
WHERE rolname = ANY(%(names)s)
ORDER BY rolname

-- name: set_role_password
ALTER ROLE {role} LOGIN PASSWORD {password}

-- name: database_exists
SELECT EXISTS (SELECT FROM pg_database WHERE datname = %(name)s) AS exists

-- name: create_database
CREATE DATABASE {name} OWNER {owner}

-- name: close_database
REVOKE ALL ON DATABASE {name} FROM PUBLIC

-- name: enlarge_memory
-- For the sorts and joins of this transaction over whole tables.
SET LOCAL work_mem = '64MB'

-- name: lock_ingestion
SELECT pg_advisory_xact_lock(hashtext('streamflow ingestion'), hashtext(%(use_case)s))

-- name: wait_for_ingestion
-- An ingestion under way may commit rows with a recorded_at in the past: it is waited for.
SELECT pg_advisory_xact_lock_shared(hashtext('streamflow ingestion'), hashtext(%(use_case)s))

-- name: schema_exists
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %(schema)s) AS exists

-- name: create_history_schema
CREATE SCHEMA IF NOT EXISTS {schema}

-- name: create_history
SELECT streamflow.create_history(%(use_case)s, %(history)s, %(key)s, %(columns)s)

-- name: create_events
SELECT streamflow.create_events(%(use_case)s, %(events)s, %(key)s, %(time)s, %(columns)s)

-- name: events_after
SELECT line, to_char({time} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS value
FROM {staging}
WHERE {time} > %(until)s
ORDER BY line

-- name: drop_events_after
DELETE FROM {staging} WHERE {time} > %(until)s

-- name: add_events
-- Events that are alike in all columns are told apart by their number: the file's third is new if
-- two are known.
INSERT INTO {events} (recorded_at, ingestion_id, {columns})
SELECT %(recorded_at)s, %(ingestion_id)s, {columns}
FROM (
    SELECT {columns}, row_number() OVER (PARTITION BY {columns}) AS occurrence
    FROM {staging}
    EXCEPT
    SELECT {columns}, row_number() OVER (PARTITION BY {columns})
    FROM {known_events} AS events
    WHERE {time} BETWEEN (SELECT min({time}) FROM {staging})
                     AND (SELECT max({time}) FROM {staging})
) AS new
ORDER BY {time}

-- name: span_of_events
SELECT min({time}) AS oldest, max({time}) AS newest
FROM {events} AS events
WHERE ingestion_id = %(ingestion_id)s

-- name: withdrawn_since
-- Whether something was withdrawn after the table's newest ingestion.
SELECT EXISTS (
    SELECT FROM streamflow.withdrawals JOIN streamflow.ingestions USING (ingestion_id)
    WHERE use_case = %(use_case)s AND withdrawals.written_at > (
        SELECT max(written_at) FROM streamflow.ingestions
        WHERE use_case = %(use_case)s AND tables ? %(table)s
    )
) AS exists

-- name: analyze_events
SELECT streamflow.analyze_history(%(use_case)s, %(events)s)

-- name: aggregate_count
count(*) FILTER (WHERE {time} >= {start})

-- name: aggregate_sum
coalesce(sum({column} {order}) FILTER (WHERE {time} >= {start}), 0)::double precision

-- name: aggregate_mean
sum({column} {order}) FILTER (WHERE {time} >= {start})::double precision
    / nullif(count({column}) FILTER (WHERE {time} >= {start}), 0)

-- name: aggregate_distinct
count(DISTINCT {column}) FILTER (WHERE {time} >= {start})

-- name: aggregate_days_since
{as_of}::date - (max({time}) AT TIME ZONE 'UTC')::date

-- name: named_aggregate
{aggregate} AS {feature}

-- name: value_or_null
{feature}

-- name: value_or_zero
coalesce({feature}, 0)

-- name: in_order
ORDER BY {columns}

-- name: aggregate
INSERT INTO {staging} (line, {key}, {names})
SELECT 0, {key}, {values}
FROM (
    SELECT DISTINCT {key} FROM {entities} AS entities WHERE as_of = %(as_of)s
) AS entities
LEFT JOIN {aggregated} AS aggregated USING ({key})

-- name: aggregated
SELECT {key}, {aggregates}
FROM {known_events} AS events
WHERE {time} >= %(start)s AND {time} <= %(until)s AND recorded_at <= %(recorded_at)s
GROUP BY {key}

-- name: drop_staged
DROP TABLE IF EXISTS {staging}, {latest}, {gone}

-- name: history_columns
SELECT column_name, data_type
FROM information_schema.columns
WHERE table_schema = %(schema)s AND table_name = %(table)s

-- name: history_tables
SELECT table_name
FROM information_schema.tables
WHERE table_schema = %(schema)s AND right(table_name, 8) = '_history'
ORDER BY table_name

-- name: history_changes
SELECT history, kind, column_name, before, type
FROM streamflow.history_changes
WHERE use_case = %(use_case)s
ORDER BY change_id

-- name: change_history
SELECT streamflow.change_history(
    %(use_case)s, %(history)s, %(kind)s, %(column_name)s, %(before)s, %(type)s)

-- name: count_beyond_float
-- Whole numbers that a number of 64 bits with a point can't tell from their neighbours.
SELECT count(*) AS values, min({column}) AS least, max({column}) AS greatest
FROM {history}
WHERE {column} NOT BETWEEN -9007199254740992 AND 9007199254740992

-- name: recorded_columns
-- The columns that each ingestion's file of a table had; null before that was recorded.
SELECT ingestion_id, file.key AS table, file.value -> 'columns' AS columns
FROM streamflow.ingestions
CROSS JOIN LATERAL jsonb_each(tables) AS file
WHERE use_case = %(use_case)s
ORDER BY ingestion_id

-- name: create_staging
CREATE TEMPORARY TABLE {staging} (line bigint NOT NULL, {key} text {definitions}) ON COMMIT DROP

-- name: copy_staging
COPY {staging} FROM STDIN WITH (FORMAT csv)

-- name: begin_month
SELECT streamflow.begin_month(%(use_case)s, %(history)s, %(as_of)s) AS name

-- name: show_as_staging
CREATE TEMPORARY VIEW {staging} AS TABLE {month}

-- name: copy_month
COPY {month} ({columns}) FROM STDIN WITH (FORMAT csv)

-- name: key_month
SELECT streamflow.key_month(%(use_case)s, %(history)s, %(as_of)s, %(key)s, %(recorded_at)s) AS has_key

-- name: hide_staging
DROP VIEW {staging}

-- name: finish_month
SELECT streamflow.finish_month(%(use_case)s, %(history)s, %(as_of)s, %(ingestion_id)s)

-- name: create_month
SELECT streamflow.create_month(%(use_case)s, %(history)s, %(as_of)s, %(key)s)

-- name: copy_query
COPY ({query}) TO STDOUT (FORMAT csv, HEADER)

-- name: analyze_staging
ANALYZE {staging}

-- name: forgotten
-- With the steps since the last deletion, and the tables of all.
SELECT forgotten.forgotten_id, salt, hash, forgotten_at, forgotten_by, why, written_at,
       (SELECT array_agg(DISTINCT key ORDER BY key)
        FROM (
            SELECT jsonb_object_keys(forgotten.tables) AS key
            UNION ALL
            SELECT jsonb_object_keys(later.tables)
            FROM streamflow.forgotten_steps AS later
            WHERE later.forgotten_id = forgotten.forgotten_id
        ) AS keys) AS tables,
       ARRAY (
           SELECT DISTINCT step FROM streamflow.forgotten_steps AS done
           WHERE done.forgotten_id = forgotten.forgotten_id AND done.step <> 'rows'
             AND finished_at > coalesce(deletion.last_at, '-infinity')
           ORDER BY step
       ) AS steps
FROM streamflow.forgotten
LEFT JOIN (
    SELECT forgotten_id, max(finished_at) AS last_at
    FROM streamflow.forgotten_steps
    WHERE step = 'rows'
    GROUP BY forgotten_id
) AS deletion ON deletion.forgotten_id = forgotten.forgotten_id
WHERE use_case = %(use_case)s
ORDER BY forgotten.forgotten_id

-- name: forgotten_list
SELECT use_case, salt, hash, forgotten_at, forgotten_by, why
FROM streamflow.forgotten
ORDER BY forgotten_id

-- name: forgotten_salts
SELECT salt
FROM streamflow.forgotten
WHERE use_case = %(use_case)s
GROUP BY salt
ORDER BY max(forgotten_id)

-- name: count_forgotten
SELECT count(*) AS people FROM streamflow.forgotten WHERE use_case = %(use_case)s

-- name: drop_forgotten
-- The hash is HMAC-SHA256 with the salt, whose two pads are given.
DELETE FROM {staging}
WHERE sha256(%(outer)s || sha256(%(inner)s || convert_to({key}, 'UTF8'))) IN (
    SELECT hash FROM streamflow.forgotten WHERE use_case = %(use_case)s AND salt = %(salt)s
)

-- name: forgotten_hashes
SELECT hash FROM streamflow.forgotten WHERE use_case = %(use_case)s AND salt = %(salt)s

-- name: forgotten_among
SELECT entity, forgotten_id FROM streamflow.forgotten_among(%(ids)s::text[])

-- name: forgotten_since
SELECT streamflow.forgotten_since(%(moment)s) AS forgotten

-- name: lock_forgetting
SELECT pg_advisory_xact_lock(hashtext('streamflow forgetting'))

-- name: wait_for_forgetting
-- Rows of people are written before they are deleted, or after, when who was forgotten is known.
SELECT pg_advisory_xact_lock_shared(hashtext('streamflow forgetting'))

-- name: tables_with_key
-- History, events, and the features online, with those of models of before.
-- Not the views of a history whose rows are elsewhere.
SELECT table_schema AS schema, table_name AS table
FROM information_schema.columns
JOIN information_schema.tables USING (table_schema, table_name)
WHERE column_name = %(key)s AND table_type = 'BASE TABLE'
  AND (table_schema = %(history)s
           AND (right(table_name, 8) = '_history' OR right(table_name, 7) = '_events')
       OR table_schema = %(online)s AND starts_with(table_name, %(project)s))
ORDER BY table_schema, table_name

-- name: all_rows
true

-- name: rows_of_use_case
use_case = %(use_case)s

-- name: rows_of_served_model
served_model IN (SELECT served_model FROM streamflow.served_models WHERE model = %(model)s)

-- name: rows_of_answering_model
answered_by IN (SELECT served_model FROM streamflow.served_models WHERE model = %(model)s)

-- name: rows_of_scoring
scoring_id IN (SELECT scoring_id FROM streamflow.scorings WHERE model = %(model)s)

-- name: rows_of_list
list_id IN (SELECT list_id FROM streamflow.lists WHERE model = %(model)s)

-- name: rows_of_unfinished_scoring
unfinished_id IN (SELECT unfinished_id FROM streamflow.unfinished_scorings WHERE model = %(model)s)

-- name: delete_entities
-- A partition is told by its own name, a month of history by its history's.
WITH gone AS (
    DELETE FROM {table} AS known
    WHERE {column} = ANY(%(ids)s) AND {condition}
    RETURNING {column} AS entity, known.tableoid
)
SELECT entity, nspname AS schema, relname AS table, count(*) AS rows
FROM gone
LEFT JOIN pg_inherits ON inhrelid = gone.tableoid
JOIN pg_class ON pg_class.oid = CASE WHEN {by_partition} THEN gone.tableoid
                                     ELSE coalesce(inhparent, gone.tableoid) END
JOIN pg_namespace ON pg_namespace.oid = relnamespace
GROUP BY entity, nspname, relname

-- name: entities_with_hash
-- Ids whose HMAC-SHA256 is one of the hashes.
SELECT DISTINCT {column} AS entity
FROM {table}
WHERE {condition}
  AND sha256(%(outer)s || sha256(%(inner)s || convert_to({column}, 'UTF8'))) = ANY(%(hashes)s)

-- name: record_forgotten
INSERT INTO streamflow.forgotten
    (use_case, salt, hash, forgotten_at, forgotten_by, why, tables)
VALUES (%(use_case)s, %(salt)s, %(hash)s, %(forgotten_at)s, %(forgotten_by)s, %(why)s, %(tables)s)
ON CONFLICT (use_case, salt, hash) DO NOTHING
RETURNING forgotten_id

-- name: record_forgotten_step
INSERT INTO streamflow.forgotten_steps (forgotten_id, step)
SELECT unnest(%(forgotten_ids)s::bigint[]), %(step)s

-- name: record_forgotten_again
INSERT INTO streamflow.forgotten_steps (forgotten_id, step, tables)
VALUES (%(forgotten_id)s, 'rows', %(tables)s)

-- name: tables_with_dead_rows
-- Those in whose files PostgreSQL may still have rows that nobody sees; leaves of partitioned ones.
SELECT schemaname AS schema, relname AS table
FROM pg_stat_user_tables
WHERE n_dead_tup > 0
  AND (schemaname = %(history)s OR schemaname = 'streamflow' AND EXISTS (
      SELECT FROM pg_attribute
      WHERE attrelid = relid AND attname = ANY(%(columns)s) AND NOT attisdropped
  ))
ORDER BY schemaname, relname

-- name: files_of_table
-- The table, or the partitions that it consists of.
SELECT nspname AS schema, relname AS table
FROM to_regclass(format('%%I.%%I', %(schema)s::text, %(table)s::text)) AS whole
JOIN pg_class ON pg_class.oid = whole OR pg_class.oid IN (SELECT relid FROM pg_partition_tree(whole))
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r'

-- name: file_of_table
SELECT pg_relation_filenode(pg_class.oid)::bigint AS number
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %(schema)s AND relname = %(table)s

-- name: rewrite_table
-- A table's file is written anew, with its indexes: deleted rows are still in the old ones.
VACUUM (FULL, ANALYZE) {table}

-- name: partitioned_with_statistics
-- Partitioned tables of ours that the planner has statistics of: only ANALYZE by hand makes them.
-- The view has those of the tables that one may read; pg_statistic is for superusers.
SELECT DISTINCT nspname AS schema, relname AS table
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
JOIN pg_stats ON pg_stats.schemaname = nspname AND pg_stats.tablename = relname
WHERE relkind = 'p' AND nspname = ANY(%(schemas)s)
ORDER BY nspname, relname

-- name: analyze_partitioned
ANALYZE {table}

-- name: clear_statistics
-- ANALYZE leaves those of a table without rows as they were.
SELECT pg_clear_attribute_stats(schemaname::text, tablename::text, attname::text, inherited)
FROM pg_stats
WHERE schemaname = %(schema)s AND tablename = %(name)s AND NOT EXISTS (SELECT FROM {table})

-- name: delete_statistics
-- The same for servers that have no function for it; pg_statistic is for superusers.
DELETE FROM pg_catalog.pg_statistic
WHERE NOT EXISTS (SELECT FROM {table}) AND starelid = (
    SELECT pg_class.oid FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = %(schema)s AND relname = %(name)s
)

-- name: clears_statistics
SELECT to_regprocedure('pg_clear_attribute_stats(text, text, text, boolean)') IS NOT NULL AS known

-- name: rewrite_statistics
-- The planner's statistics quote values of columns, and old ones are still in their file.
VACUUM FULL pg_catalog.pg_statistic

-- name: holders_of_old_rows
-- Who may still see rows that were deleted in a transaction: PostgreSQL keeps them for these.
SELECT format('process %%s (%%s)', pid, coalesce(nullif(application_name, ''), backend_type)) AS holder
FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database() AND backend_xmin IS NOT NULL
  AND age(backend_xmin) >= age((%(deleted_in)s::numeric %% 4294967296)::text::xid)
UNION ALL
SELECT format('replication slot %%s', slot_name)
FROM pg_replication_slots
WHERE age(xmin) >= age((%(deleted_in)s::numeric %% 4294967296)::text::xid)
UNION ALL
SELECT format('prepared transaction %%s', gid)
FROM pg_prepared_xacts
WHERE database = current_database()

-- name: current_transaction
SELECT pg_current_xact_id()::text AS id

-- name: checkpoint
CHECKPOINT

-- name: wal_recycled
SELECT setting = 'on' AS recycled FROM pg_settings WHERE name = 'wal_recycle'

-- name: set_wal_recycle
ALTER SYSTEM SET wal_recycle = off

-- name: reset_wal_recycle
ALTER SYSTEM RESET wal_recycle

-- name: reload_settings
SELECT pg_reload_conf()

-- name: next_wal_file
-- A file without a record wouldn't be switched from.
SELECT pg_switch_wal() FROM pg_logical_emit_message(false, 'streamflow', '')

-- name: current_wal_file
SELECT pg_walfile_name(pg_current_wal_insert_lsn()) AS name

-- name: wal_files
SELECT name FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{{24}}$' ORDER BY name

-- name: set_run_tag
INSERT INTO {table} (key, value, run_uuid) VALUES (%(key)s, %(value)s, %(run_id)s)
ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value

-- name: cut_tags
-- What comes after `; first: ` is an example, which names an entity.
UPDATE {table} SET value = split_part(value, '; first: ', 1)
WHERE key = ANY(%(keys)s) AND position('; first: ' IN value) > 0
  AND EXISTS (SELECT FROM unnest(%(ids)s::text[]) AS id WHERE position(id IN value) > 0)

-- name: count_staging
SELECT count(*) AS rows FROM {staging}

-- name: duplicate_keys
WITH repeated AS (
    SELECT {key} FROM {staging} GROUP BY {key} HAVING count(*) > 1
)
SELECT line, value
FROM (
    SELECT line, {key} AS value, row_number() OVER (PARTITION BY {key} ORDER BY line) AS occurrence
    FROM {staging} JOIN repeated USING ({key})
) AS numbered
WHERE occurrence > 1
ORDER BY line

-- name: unknown_keys
SELECT staging.line, staging.{key} AS value
FROM {staging} AS staging
LEFT JOIN {entities} AS entities USING ({key})
WHERE entities.{key} IS NULL
ORDER BY staging.line

-- name: refused_ids
SELECT line, left({key}, %(longest)s + 1) AS value
FROM {staging}
WHERE length({key}) > %(longest)s OR {key} !~ %(pattern)s
ORDER BY line

-- name: similar_entities
-- Keys that the entity table lacks, with one there that looks the same. Texts that look the same
-- have the same `folded` text.
WITH unknown AS (
    SELECT staging.line, staging.{key} AS id
    FROM {staging} AS staging
    LEFT JOIN {entities} AS entities USING ({key})
    WHERE entities.{key} IS NULL
), folded AS (
    SELECT line, id, btrim(regexp_replace(regexp_replace(
        normalize(id, NFC), %(spaces)s, ' ', 'g'), %(unseen)s, '', 'g')) AS folded
    FROM (SELECT line, id FROM unknown UNION ALL SELECT NULL, {key} FROM {entities}) AS ids
)
SELECT one.line, min(other.id) AS other
FROM folded AS one
JOIN folded AS other USING (folded)
WHERE one.line IS NOT NULL AND other.line IS NULL
GROUP BY one.line

-- name: similar_ids
-- Ids of the file that look the same as another one in the file or in history. Nearly all ids are
-- plain: they are their own `folded` text, and only the others need to be folded.
WITH ids AS (
    SELECT line, {key} AS id FROM {staging} WHERE {key} !~ %(plain)s
    UNION ALL
    SELECT DISTINCT NULL::bigint, {key} FROM {known_history} AS known WHERE {key} !~ %(plain)s
), folded AS (
    SELECT line, id, btrim(regexp_replace(regexp_replace(
        normalize(id, NFC), %(spaces)s, ' ', 'g'), %(unseen)s, '', 'g')) AS folded
    FROM ids
), pairs AS (
    SELECT one.line, one.id, other.id AS other
    FROM folded AS one
    JOIN folded AS other ON other.folded = one.folded AND other.id <> one.id
    WHERE one.line IS NOT NULL AND (other.line IS NULL OR other.line < one.line)
    UNION ALL
    SELECT folded.line, folded.id, plain.{key}
    FROM folded
    JOIN {staging} AS plain ON plain.{key} = folded.folded AND plain.{key} <> folded.id
    WHERE folded.line IS NOT NULL
    UNION ALL
    SELECT folded.line, folded.id, known.{key}
    FROM folded
    JOIN {known_history} AS known ON known.{key} = folded.folded AND known.{key} <> folded.id
    WHERE folded.line IS NOT NULL
    UNION ALL
    SELECT plain.line, plain.{key}, folded.id
    FROM folded
    JOIN {staging} AS plain ON plain.{key} = folded.folded AND plain.{key} <> folded.id
    WHERE folded.line IS NULL
)
SELECT line, id AS value, min(other) AS other
FROM pairs
GROUP BY line, id
ORDER BY line

-- name: count_dates_after
SELECT count(*) AS values, max({column}) AS newest FROM {staging} WHERE {column} > %(as_of)s

-- name: dates_after
SELECT line, {column} AS value FROM {staging} WHERE {column} > %(as_of)s ORDER BY line

-- name: months_with_same_rows
-- Of some of the file's rows, per month how many history has with the same values.
WITH some_rows AS MATERIALIZED (
    SELECT {columns} FROM {staging} ORDER BY md5({key}), {key} COLLATE "C" LIMIT %(compared)s
)
SELECT history.as_of, count(DISTINCT some_rows.{key}) AS same,
       (SELECT count(*) FROM some_rows) AS compared,
       array_agg(DISTINCT history.ingestion_id) AS ingestions
FROM some_rows
JOIN {known_history} AS history USING ({key})
WHERE (%(months)s::date[] IS NULL OR history.as_of = ANY(%(months)s))
  AND ROW({some_columns}) IS NOT DISTINCT FROM ROW({history_columns})
GROUP BY history.as_of

-- name: month_is_known
SELECT EXISTS (SELECT 1 FROM {known_history} AS history WHERE as_of = %(as_of)s) AS exists

-- name: month_exists
SELECT EXISTS (
    SELECT 1 FROM {history} WHERE as_of = %(as_of)s
) AS exists

-- name: copied_withdrawals
-- What queries of history join with, for an engine that reads history elsewhere.
SELECT ingestion_id, withdrawals.recorded_at
FROM streamflow.withdrawals JOIN streamflow.ingestions USING (ingestion_id)
WHERE use_case = %(use_case)s

-- name: rows_of_one_ingestion
SELECT {columns} FROM {history}
WHERE as_of = ANY(%(as_ofs)s::date[]) AND ingestion_id = %(ingestion_id)s

-- name: rows_of_no_ingestion
-- Rows of a history that were put there by plain SQL, under no ingestion of the table.
SELECT {columns} FROM {history} AS history
WHERE NOT EXISTS (
    SELECT 1 FROM streamflow.ingestions
    WHERE use_case = %(use_case)s AND ingestions.ingestion_id = history.ingestion_id
      AND jsonb_exists(tables, %(table)s)
      AND (ingestions.as_of = history.as_of
           OR jsonb_exists(tables -> %(table)s -> 'corrected', history.as_of::text))
)

-- name: nothing
SELECT

-- name: copied_absences
SELECT use_case, history, entity, event_timestamp, recorded_at, ingestion_id
FROM streamflow.absences
WHERE use_case = %(use_case)s

-- name: any_withdrawals
SELECT 1 FROM streamflow.withdrawals JOIN streamflow.ingestions USING (ingestion_id)
WHERE use_case = %(use_case)s
LIMIT 1

-- name: copied_scores
SELECT entity_id, probability, label FROM streamflow.scores WHERE scoring_id = %(scoring_id)s

-- name: rewritten_histories
SELECT history, times, rewritten_at FROM streamflow.rewritten_history WHERE use_case = %(use_case)s

-- name: begin_appending
-- What this transaction adds to history is told by its ingestion.
SELECT set_config('streamflow.ingesting', 'on', true)

-- name: any_absences
SELECT 1 FROM streamflow.absences WHERE use_case = %(use_case)s LIMIT 1

-- name: parquet_files
-- What the copy of history in Parquet depends on: ingestions, and when rows were deleted last.
SELECT ingestion_id, as_of, md5(ROW(ingestions.*)::text) AS content, (
    SELECT md5(ROW(count(*), max(written_at))::text) FROM streamflow.forgotten
    WHERE use_case = %(use_case)s
) AS people, (
    SELECT count(*) FROM streamflow.forgotten_steps JOIN streamflow.forgotten USING (forgotten_id)
    WHERE use_case = %(use_case)s AND step = 'rows'
) AS again,
ARRAY (SELECT jsonb_object_keys(ingestions.tables)) AS tables, (
    SELECT jsonb_object_agg(file.key, coalesce(file.value -> 'corrected', jsonb_build_object()))
    FROM jsonb_each(ingestions.tables) AS file
) AS corrected
FROM streamflow.ingestions
WHERE use_case = %(use_case)s
ORDER BY ingestion_id

-- name: withdrawn
-- Whether anything of the use case was ever withdrawn, and in which histories entities are absent.
SELECT
    EXISTS (
        SELECT FROM streamflow.withdrawals JOIN streamflow.ingestions USING (ingestion_id)
        WHERE use_case = %(use_case)s
    ) AS ingestions,
    ARRAY (
        SELECT DISTINCT history FROM streamflow.absences WHERE use_case = %(use_case)s
    ) AS histories

-- name: not_withdrawn
-- A row named `known` is of an ingestion that wasn't withdrawn by known_at.
NOT EXISTS (
    SELECT 1 FROM streamflow.withdrawals AS withdrawn
    WHERE withdrawn.ingestion_id = known.ingestion_id AND withdrawn.recorded_at <= %(known_at)s
)

-- name: not_absent
-- Nor is it of an entity of which a complete file, recorded later, had no row.
NOT EXISTS (
    SELECT 1 FROM streamflow.absences AS absent
    WHERE absent.use_case = %(use_case)s AND absent.history = %(history)s
      AND absent.entity = known.{key} AND absent.event_timestamp = known.event_timestamp
      AND absent.recorded_at > known.recorded_at AND absent.recorded_at <= %(known_at)s
      AND NOT EXISTS (
          SELECT 1 FROM streamflow.withdrawals AS withdrawn
          WHERE withdrawn.ingestion_id = absent.ingestion_id
            AND withdrawn.recorded_at <= %(known_at)s
      )
)

-- name: known_rows
(SELECT * FROM {history} AS known WHERE {condition})

-- name: matured_labels
(SELECT * FROM {history} AS given
 WHERE {label} IS NULL OR recorded_at >= event_timestamp + %(horizon)s::interval)

-- name: labels_by_rule
-- The values of the label's column as true, false and null.
(SELECT {key}, as_of, event_timestamp, recorded_at, ingestion_id, {rule} AS {label}
 FROM {history} AS given)

-- name: count_without_row
SELECT count(*) AS entities
FROM (
    SELECT {key} FROM {entities} AS entities WHERE as_of = %(as_of)s
    EXCEPT
    SELECT {key} FROM {history} AS history WHERE as_of = %(as_of)s
) AS lacking

-- name: count_staged_labels
SELECT count(*) AS labels FROM {staging} WHERE {label} IS NOT NULL

-- name: create_latest
CREATE TEMPORARY TABLE {latest} ON COMMIT DROP AS
SELECT DISTINCT ON ({key}) recorded_at, ingestion_id, {columns}
FROM {known_history} AS history
WHERE as_of = %(as_of)s
ORDER BY {key}, recorded_at DESC

-- name: recorded_before
-- A value differs from one that the older row's ingestion hasn't recorded, even if it is null. Rows
-- of before that don't count any more stay what they were until they were withdrawn.
SELECT count(*) AS conflicts, max(greatest(latest.recorded_at, gone.recorded_at)) AS recorded_at
FROM {staging} AS staging
LEFT JOIN {latest} AS latest USING ({key})
LEFT JOIN {gone} AS gone USING ({key})
WHERE greatest(latest.recorded_at, gone.recorded_at) >= %(recorded_at)s
  AND (latest.{key} IS NULL
       OR ROW({staging_columns}) IS DISTINCT FROM ROW({latest_columns})
       OR latest.ingestion_id = ANY(%(narrower)s))

-- name: create_gone
-- When something of an entity was withdrawn at the as_of, or was said to be absent.
CREATE TEMPORARY TABLE {gone} ON COMMIT DROP AS
SELECT {key}, max(recorded_at) AS recorded_at
FROM (
    SELECT history.{key}, withdrawn.recorded_at
    FROM {history} AS history
    JOIN streamflow.withdrawals AS withdrawn USING (ingestion_id)
    WHERE history.as_of = %(as_of)s
    UNION ALL
    SELECT entity, greatest(absent.recorded_at, withdrawn.recorded_at)
    FROM streamflow.absences AS absent
    LEFT JOIN streamflow.withdrawals AS withdrawn USING (ingestion_id)
    WHERE use_case = %(use_case)s AND history = %(history)s
      AND event_timestamp = %(event_timestamp)s
) AS events
GROUP BY {key}

-- name: create_nothing_gone
CREATE TEMPORARY TABLE {gone} ({key} text, recorded_at timestamptz) ON COMMIT DROP

-- name: add_all
INSERT INTO {history} (as_of, recorded_at, ingestion_id, {columns})
SELECT %(as_of)s, %(recorded_at)s, %(ingestion_id)s, {columns}
FROM {staging}
ORDER BY {key}  -- in the order of the primary key its index grows at one end, which is twice as fast

-- name: add_changed
INSERT INTO {history} (as_of, recorded_at, ingestion_id, {columns})
SELECT %(as_of)s, %(recorded_at)s, %(ingestion_id)s, {staging_columns}
FROM {staging} AS staging
LEFT JOIN {latest} AS latest USING ({key})
WHERE latest.{key} IS NULL
   OR ROW({staging_columns}) IS DISTINCT FROM ROW({latest_columns})
   OR latest.ingestion_id = ANY(%(narrower)s)

-- name: analyze_history
-- Without statistics the planner expects few rows in a new month and joins by nested loops.
SELECT streamflow.analyze_history(%(use_case)s, %(history)s)

-- name: analyze_month
SELECT streamflow.analyze_month(%(use_case)s, %(history)s, %(as_of)s)

-- name: count_only_in_history
SELECT count(*) AS entities, max(latest.recorded_at) AS recorded_at
FROM {latest} AS latest
WHERE NOT EXISTS (SELECT 1 FROM {staging} AS staging WHERE staging.{key} = latest.{key})

-- name: count_new_entities
SELECT count(*) AS entities
FROM {staging} AS staging
WHERE NOT EXISTS (SELECT 1 FROM {latest} AS latest WHERE latest.{key} = staging.{key})

-- name: add_absences
INSERT INTO streamflow.absences
    (use_case, history, entity, event_timestamp, recorded_at, ingestion_id)
SELECT %(use_case)s, %(history)s, latest.{key}, %(event_timestamp)s, %(recorded_at)s,
       %(ingestion_id)s
FROM {latest} AS latest
WHERE NOT EXISTS (SELECT 1 FROM {staging} AS staging WHERE staging.{key} = latest.{key})

-- name: copy_absences
COPY streamflow.absences (use_case, history, entity, event_timestamp, recorded_at, ingestion_id)
FROM STDIN

-- name: copy_departed
COPY streamflow.unfinished_scores (unfinished_id, entity_id, problem) FROM STDIN

-- name: create_brought
CREATE TEMPORARY TABLE {table} ({columns}) ON COMMIT DROP

-- name: index_brought
CREATE INDEX ON {table} ({key})

-- name: histories_here
SELECT relname AS table_name
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %(use_case)s AND relkind = 'p' AND right(relname, 8) = '_history'
ORDER BY relname

-- name: months_of_history
SELECT as_of, count(*) AS rows FROM {history} GROUP BY as_of ORDER BY as_of

-- name: rows_in_order
SELECT {columns} FROM {history} WHERE as_of = %(as_of)s ORDER BY {key} COLLATE "C", recorded_at

-- name: drop_history
DROP TABLE {history}

-- name: iceberg_tables
SELECT table_name, metadata_location
FROM streamflow.iceberg_tables
WHERE catalog_name = 'streamflow' AND table_namespace = %(use_case)s
ORDER BY table_name

-- name: iceberg_state
-- What views of history, and what they are joined with, depend on.
SELECT md5(ROW(
    (SELECT string_agg(metadata_location, ' ' ORDER BY table_name)
     FROM streamflow.iceberg_tables
     WHERE catalog_name = 'streamflow' AND table_namespace = %(use_case)s),
    (SELECT count(*) FROM streamflow.withdrawals),
    (SELECT max(ingestion_id) FROM streamflow.ingestions WHERE use_case = %(use_case)s)
)::text) AS state

-- name: add_iceberg_table
INSERT INTO streamflow.iceberg_tables
    (catalog_name, table_namespace, table_name, metadata_location, iceberg_type)
VALUES ('streamflow', %(use_case)s, %(history)s, %(metadata)s, 'TABLE')

-- name: replace_iceberg_metadata
UPDATE streamflow.iceberg_tables
SET metadata_location = %(metadata)s, previous_metadata_location = %(before)s
WHERE catalog_name = 'streamflow' AND table_namespace = %(use_case)s AND table_name = %(history)s
  AND metadata_location = %(before)s

-- name: database_identity
-- Of this database and no other one, also of the same name.
SELECT concat_ws(
    '/',
    (SELECT system_identifier FROM pg_control_system()),
    (SELECT oid FROM pg_database WHERE datname = current_database())
) AS identity

-- name: add_iceberg_location
INSERT INTO streamflow.iceberg_namespace_properties
    (catalog_name, namespace, property_key, property_value)
VALUES ('streamflow', %(use_case)s, 'location', %(location)s)
ON CONFLICT DO NOTHING

-- name: history_can_be_elsewhere
SELECT to_regclass('streamflow.iceberg_namespace_properties') IS NOT NULL AS exists

-- name: iceberg_location
SELECT min(property_value) AS location
FROM streamflow.iceberg_namespace_properties
WHERE catalog_name = 'streamflow' AND namespace = %(use_case)s AND property_key = 'location'

-- name: history_is_here
SELECT EXISTS (
    SELECT FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = %(use_case)s AND right(relname, 8) = '_history' AND relkind = 'p'
) AS here

-- name: create_history_elsewhere
SELECT streamflow.create_history_elsewhere(%(use_case)s, %(history)s, %(columns)s)

-- name: change_history_elsewhere
SELECT streamflow.change_history_elsewhere(
    %(use_case)s, %(history)s, %(kind)s, %(column_name)s, %(before)s, %(type)s, %(columns)s)

-- name: next_ingestion_id
SELECT nextval(pg_get_serial_sequence('streamflow.ingestions', 'ingestion_id')) AS ingestion_id

-- name: record_ingestion
INSERT INTO streamflow.ingestions
    (ingestion_id, use_case, as_of, recorded_at, ingested_at, ingested_by, tables)
OVERRIDING SYSTEM VALUE
VALUES (%(ingestion_id)s, %(use_case)s, %(as_of)s, %(recorded_at)s, %(ingested_at)s,
        %(ingested_by)s, %(tables)s)

-- name: recorded_ingestions
SELECT ingestion_id, as_of, ingestions.recorded_at, ingested_at, ingested_by, ingestions.tables,
       withdrawals.recorded_at AS withdrawn_at, withdrawn_by, why
FROM streamflow.ingestions
LEFT JOIN streamflow.withdrawals USING (ingestion_id)
WHERE use_case = %(use_case)s
ORDER BY ingestion_id

-- name: count_added
SELECT count(DISTINCT {key}) AS entities
FROM {history} AS history
WHERE ingestion_id = %(ingestion_id)s

-- name: count_absences
SELECT count(*) AS entities
FROM streamflow.absences
WHERE use_case = %(use_case)s AND history = %(history)s AND ingestion_id = %(ingestion_id)s

-- name: record_withdrawal
INSERT INTO streamflow.withdrawals (ingestion_id, recorded_at, withdrawn_by, why, tables)
VALUES (%(ingestion_id)s, %(recorded_at)s, %(withdrawn_by)s, %(why)s, %(tables)s)

-- name: labelled_months
SELECT DISTINCT as_of
FROM {label_history} AS history
WHERE recorded_at <= %(known_at)s AND {label} IS NOT NULL
ORDER BY as_of

-- name: absent_entities
SELECT count(*) AS entities,
       count(*) FILTER (WHERE last_seen < %(month)s) AS absent,
       count(*) FILTER (WHERE %(month)s - last_seen > %(departed_after)s::interval) AS departed
FROM (
    SELECT {key}, max(event_timestamp) AS last_seen
    FROM {history} AS history
    WHERE event_timestamp <= %(month)s
    GROUP BY {key}
) AS seen

-- name: record_absent_entities
INSERT INTO streamflow.absent_entities (use_case, month, entities, absent, departed)
VALUES (%(use_case)s, %(month)s, %(entities)s, %(absent)s, %(departed)s)

-- name: recorded_absent_entities
SELECT month, entities, absent, departed
FROM streamflow.absent_entities
WHERE use_case = %(use_case)s
ORDER BY counted_at DESC
LIMIT 1

-- name: other_use_cases
SELECT DISTINCT use_case AS name
FROM streamflow.ingestions
WHERE use_case <> %(use_case)s
ORDER BY use_case

-- name: ingestions_known_at
SELECT ingestion_id, as_of, recorded_at, ingested_at, tables
FROM streamflow.ingestions
WHERE use_case = %(use_case)s AND recorded_at <= %(known_at)s
  -- With later months' files whose events are in windows of these months.
  AND (as_of <= %(as_of)s OR EXISTS (
      SELECT FROM jsonb_each(tables) AS file
      CROSS JOIN LATERAL jsonb_object_keys(file.value -> 'corrected') AS corrected (as_of)
      WHERE corrected.as_of::date <= %(as_of)s
  ))
  AND NOT EXISTS (
      SELECT FROM streamflow.withdrawals AS withdrawn
      WHERE withdrawn.ingestion_id = ingestions.ingestion_id
        AND withdrawn.recorded_at <= %(known_at)s
  )
ORDER BY ingestion_id

-- name: entity_rows
-- All entities with a row at each as_of, with their label as known at known_at: the newest one,
-- unless that is null, which says that it is not known.
SELECT entities.{key}, entities.event_timestamp, labels.{label}
FROM (
    SELECT DISTINCT {key}, as_of, event_timestamp
    FROM {entity_history} AS history
    WHERE as_of = ANY(%(as_ofs)s::date[]) AND recorded_at <= %(known_at)s
) AS entities
JOIN (
    SELECT DISTINCT ON ({key}, as_of) {key}, as_of, {label}
    FROM {label_history} AS history
    WHERE as_of = ANY(%(as_ofs)s::date[]) AND recorded_at <= %(known_at)s
    ORDER BY {key}, as_of, recorded_at DESC
) AS labels USING ({key}, as_of)
WHERE labels.{label} IS NOT NULL

-- name: entities_with_label
-- All entities with a row at an as_of, each with its label as entity_rows has it; null if it has none.
SELECT entities.{key}, entities.event_timestamp, labels.{label}
FROM (
    SELECT DISTINCT {key}, as_of, event_timestamp
    FROM {entity_history} AS history
    WHERE as_of = %(as_of)s AND recorded_at <= %(known_at)s
) AS entities
LEFT JOIN (
    SELECT DISTINCT ON ({key}) {key}, as_of, {label}
    FROM {label_history} AS history
    WHERE as_of = %(as_of)s AND recorded_at <= %(known_at)s
    ORDER BY {key}, recorded_at DESC
) AS labels USING ({key})

-- name: entity_hashes
-- The hash of the last entity of a sample, and the next one. MD5 in lower-case hexadecimal digits,
-- compared by bytes: md5() of a text is the same in PostgreSQL, DuckDB and Spark.
SELECT DISTINCT md5({key}) COLLATE "C" AS hash
FROM {entity_history} AS history
WHERE as_of = ANY(%(as_ofs)s::date[]) AND recorded_at <= %(known_at)s
ORDER BY hash
LIMIT 2 OFFSET %(last)s

-- name: sampled_rows
-- The rows of a sample's entities, see entity_hashes.
(SELECT * FROM {history} AS sampled WHERE md5({key}) COLLATE "C" < %(bound)s)

-- name: history_of_entity
-- On both time axes: what each day's row said, and when it was recorded.
SELECT {columns}
FROM {history} AS known
WHERE {key} = %(entity_id)s
    AND (%(known_at)s::timestamptz IS NULL OR recorded_at <= %(known_at)s)
ORDER BY as_of, recorded_at, ingestion_id

-- name: label_exists
SELECT EXISTS (
    SELECT 1 FROM {label_history} AS history
    WHERE as_of = %(as_of)s AND recorded_at <= %(known_at)s AND {label} IS NOT NULL
) AS exists

-- name: entities_at
SELECT DISTINCT {key}, event_timestamp
FROM {history} AS history
WHERE as_of = %(as_of)s AND recorded_at <= %(known_at)s

-- name: segment_values
-- The value of a column in each entity's newest row of an as_of.
SELECT DISTINCT ON ({key}) {key} AS entity, {column} AS value
FROM {history} AS history
WHERE as_of = %(as_of)s AND recorded_at <= %(known_at)s
ORDER BY {key}, recorded_at DESC

-- name: segment_values_before
-- The same in the newest row before that as_of, of entities that have none at it.
SELECT DISTINCT ON ({key}) {key} AS entity, {column} AS value
FROM {history} AS history
WHERE {key} = ANY(%(entities)s::text[])
    AND as_of < %(as_of)s AND recorded_at <= %(known_at)s
ORDER BY {key}, event_timestamp DESC, recorded_at DESC

-- name: worth_of_scored
-- The value of a column in the newest row up to an as_of of the entities scored at it. Nearly all have a row at it: only of the
-- others are the rows before looked up, by the index of the key.
SELECT scored.entity_id AS entity,
       CASE WHEN newest.entity IS NOT NULL THEN newest.value ELSE (
           SELECT {column}
           FROM {history} AS history
           WHERE {key} = scored.entity_id COLLATE "default"
             AND as_of <= %(as_of)s AND recorded_at <= %(known_at)s
           ORDER BY event_timestamp DESC, recorded_at DESC
           LIMIT 1
       ) END AS value
FROM streamflow.scores AS scored
LEFT JOIN (
    SELECT DISTINCT ON ({key}) {key} AS entity, {column} AS value
    FROM {history} AS history
    WHERE as_of = %(as_of)s AND recorded_at <= %(known_at)s
    ORDER BY {key}, recorded_at DESC
) AS newest ON newest.entity = scored.entity_id
WHERE scoring_id = %(scoring_id)s

-- name: count_labelled
SELECT event_timestamp, count(*) AS labels FROM ({query}) AS entity_rows GROUP BY event_timestamp

-- name: count_null_labels
SELECT count(*) AS nulls
FROM (
    SELECT DISTINCT ON ({key}, as_of) {key}, as_of, {label}
    FROM {label_history} AS history
    WHERE as_of = ANY(%(as_ofs)s::date[]) AND recorded_at <= %(known_at)s
    ORDER BY {key}, as_of, recorded_at DESC
) AS labels
WHERE {label} IS NULL AND EXISTS (
    SELECT 1 FROM {entity_history} AS entities
    WHERE entities.{key} = labels.{key} AND entities.as_of = labels.as_of
      AND entities.recorded_at <= %(known_at)s
)

-- name: count_premature_labels
-- Entities with no label but one that was recorded before it could be known, by event time.
SELECT early.event_timestamp, count(DISTINCT early.{key}) AS labels
FROM {all_labels} AS early
WHERE early.as_of = ANY(%(as_ofs)s::date[]) AND early.recorded_at <= %(known_at)s
  AND early.{label} IS NOT NULL
  AND early.recorded_at < early.event_timestamp + %(horizon)s::interval
  AND EXISTS (
      SELECT 1 FROM {entity_history} AS entities
      WHERE entities.{key} = early.{key} AND entities.as_of = early.as_of
        AND entities.recorded_at <= %(known_at)s
  )
  AND NOT EXISTS (
      SELECT 1 FROM {label_history} AS labels
      WHERE labels.{key} = early.{key} AND labels.as_of = early.as_of
        AND labels.recorded_at <= %(known_at)s
  )
GROUP BY early.event_timestamp

-- name: count_nulls
SELECT count(*) AS nulls FROM {staging} WHERE {column} IS NULL

-- name: entities_without_row
-- Those for which a point-in-time join finds no row, with the bounds that Feast has: none at their
-- event time or before, at most `ttl` (null: of any age) older, that was known at known_at.
SELECT entity_rows.{key}, entity_rows.event_timestamp
FROM ({query}) AS entity_rows
WHERE NOT EXISTS (
    SELECT 1 FROM {history} AS history
    WHERE history.{key} = entity_rows.{key}
      AND history.event_timestamp <= entity_rows.event_timestamp
      AND (%(ttl)s::interval IS NULL
           OR history.event_timestamp >= entity_rows.event_timestamp - %(ttl)s::interval)
      AND history.recorded_at <= %(known_at)s
)
ORDER BY entity_rows.event_timestamp, entity_rows.{key}

-- name: rows_of_ingestions
-- How many of the rows that a point-in-time join finds, see entities_without_row, are of these
-- ingestions, by event time.
SELECT entity_rows.event_timestamp, joined.ingestion_id, count(*) AS rows
FROM ({query}) AS entity_rows
CROSS JOIN LATERAL (
    SELECT history.ingestion_id
    FROM {history} AS history
    WHERE history.{key} = entity_rows.{key}
      AND history.event_timestamp <= entity_rows.event_timestamp
      AND (%(ttl)s::interval IS NULL
           OR history.event_timestamp >= entity_rows.event_timestamp - %(ttl)s::interval)
      AND history.recorded_at <= %(known_at)s
    ORDER BY history.event_timestamp DESC, history.recorded_at DESC
    LIMIT 1
) AS joined
WHERE joined.ingestion_id = ANY(%(ingestions)s)
GROUP BY entity_rows.event_timestamp, joined.ingestion_id
ORDER BY entity_rows.event_timestamp, joined.ingestion_id

-- name: count_entities
SELECT count(*) AS entities
FROM (
    SELECT DISTINCT as_of, {key}
    FROM {entity_history} AS history
    WHERE as_of = ANY(%(as_ofs)s::date[]) AND recorded_at <= %(known_at)s
) AS entities

-- name: count_window
SELECT count(DISTINCT {key}) AS entities
FROM {history} AS history
WHERE event_timestamp <= %(end)s AND recorded_at <= %(known_at)s

-- name: oldest_event
SELECT min(event_timestamp) AS event_timestamp FROM {history} AS history

-- name: newest_event
SELECT max(event_timestamp) AS event_timestamp
FROM {history} AS history
WHERE event_timestamp <= %(end)s AND recorded_at <= %(known_at)s

-- name: record_materialization
INSERT INTO streamflow.materializations
    (use_case, feature_view, as_of, event_timestamp, known_at, rows, seconds, not_recorded, newest)
VALUES (%(use_case)s, %(feature_view)s, %(as_of)s, %(event_timestamp)s, %(known_at)s, %(rows)s,
        %(seconds)s, %(not_recorded)s, %(newest)s)

-- name: newest_materialized
-- By what the last one of each view recorded.
SELECT DISTINCT ON (feature_view) feature_view,
       coalesce(newest, max(event_timestamp) OVER (PARTITION BY feature_view)) AS event_timestamp
FROM streamflow.materializations
WHERE use_case = %(use_case)s
ORDER BY feature_view, known_at DESC, finished_at DESC NULLS LAST, event_timestamp DESC

-- name: newest_not_recorded
SELECT DISTINCT ON (feature_view) feature_view, not_recorded
FROM streamflow.materializations
WHERE use_case = %(use_case)s
ORDER BY feature_view, known_at DESC, finished_at DESC NULLS LAST

-- name: materialized_without_rows
-- The views whose newest materialization found no row.
SELECT feature_view
FROM (
    SELECT DISTINCT ON (feature_view) feature_view, rows
    FROM streamflow.materializations
    WHERE use_case = %(use_case)s
    ORDER BY feature_view, known_at DESC, finished_at DESC NULLS LAST
) AS newest
WHERE rows = 0

-- name: registry_exists
SELECT to_regclass('mlflow.model_versions') IS NOT NULL AS exists

-- name: version_in_stage
SELECT version.name, version.version, version.run_id, version.current_stage AS stage,
    coalesce(tag.value, '') AS model_hash
FROM mlflow.model_versions AS version
LEFT JOIN mlflow.model_version_tags AS tag
    ON tag.name = version.name AND tag.version = version.version AND tag.key = %(tag)s
WHERE version.name = %(model)s AND version.current_stage = %(stage)s
ORDER BY version.version DESC
LIMIT 1

-- name: registered_version
SELECT version.name, version.version, version.run_id, version.current_stage AS stage,
    coalesce(tag.value, '') AS model_hash
FROM mlflow.model_versions AS version
LEFT JOIN mlflow.model_version_tags AS tag
    ON tag.name = version.name AND tag.version = version.version AND tag.key = %(tag)s
WHERE version.name = %(model)s AND version.version = %(version)s
  AND version.current_stage <> 'Deleted_Internal'

-- name: placed_versions
-- The versions that are in one of the stages, or have one of the aliases.
SELECT version.name, version.version, version.run_id, version.current_stage AS stage,
    coalesce(tag.value, '') AS model_hash, alias.named
FROM mlflow.model_versions AS version
LEFT JOIN mlflow.model_version_tags AS tag
    ON tag.name = version.name AND tag.version = version.version AND tag.key = %(tag)s
LEFT JOIN (
    SELECT version, array_agg(alias) AS named
    FROM mlflow.registered_model_aliases
    WHERE name = %(model)s AND alias = ANY(%(aliases)s)
    GROUP BY version
) AS alias ON alias.version = version.version
WHERE version.name = %(model)s
  AND (version.current_stage = ANY(%(stages)s) OR alias.named IS NOT NULL)

-- name: version_files
-- With the place of the model's own experiment, which is named like the model.
SELECT storage_location AS location, (
    SELECT artifact_location FROM mlflow.experiments WHERE name = %(model)s
    ORDER BY experiment_id LIMIT 1  -- a name may be there once in each workspace
) AS experiment
FROM mlflow.model_versions
WHERE name = %(model)s AND version = %(version)s

-- name: record_model_change
SELECT change_number AS number, change_hash AS hash
FROM streamflow.record_model_change(
    %(model)s, %(changed_at)s, %(kind)s, %(who)s, %(why)s, %(version)s, %(model_hash)s, %(run_id)s,
    %(from_stage)s, %(to_stage)s, %(replaced)s, %(details)s)

-- name: record_noticed_change
SELECT change_number AS number, change_hash AS hash
FROM streamflow.record_noticed_change(
    %(model)s, %(changed_at)s, %(kind)s, %(who)s, %(why)s, %(version)s, %(model_hash)s, %(run_id)s,
    %(from_stage)s, %(to_stage)s, %(replaced)s, %(details)s)

-- name: model_history
SELECT model, number, changed_at AS at, kind, who, why, version, model_hash, run_id, from_stage,
       to_stage, replaced, details, written_at, written_by, previous_hash, hash
FROM streamflow.model_history
WHERE model = %(model)s AND number > %(after)s
ORDER BY number

-- name: newest_canary
-- The newest change that says which canary is on: a version that moves to one of both stages ends it.
SELECT number, kind, version, (details ->> 'percent')::double precision AS percent
FROM streamflow.model_history
WHERE model = %(model)s
  AND (kind IN ('canary started', 'canary ended')
       OR kind IN ('promoted', 'rolled back', 'changed elsewhere')
          AND to_stage IN ('Production', 'Staging'))
ORDER BY number DESC
LIMIT 1

-- name: model_history_links
-- What each row says is hashed as `streamflow.append_model_history` does, without that function.
SELECT number, history.hash, previous_hash,
       encode(sha256(convert_to(jsonb_build_array(
           model, number,
           to_char(changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
           kind, who, why, version, model_hash, run_id, from_stage, to_stage, replaced, details,
           to_char(written_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
           written_by, previous_hash
       )::text, 'UTF8')), 'hex') AS computed,
       event.hash AS event_hash
FROM streamflow.model_history AS history
FULL JOIN streamflow.model_events AS event USING (model, number)
WHERE model = %(model)s
ORDER BY number

-- name: try_lock_events
SELECT pg_try_advisory_xact_lock(hashtext('streamflow events'), hashtext(%(model)s)) AS locked

-- name: next_event
-- The oldest event that no attempt has delivered, with its attempts so far: of a change, or of an
-- alarm.
WITH event AS (
    SELECT event_id, changed_at AS at, number, payload, kind
    FROM streamflow.model_events JOIN streamflow.model_history USING (model, number)
    WHERE model = %(model)s
    UNION ALL
    SELECT event_id, written_at, monitoring_id * 1000 + position, payload, 'alarm raised'
    FROM streamflow.alarm_events
    WHERE model = %(model)s
)
SELECT event_id, number, payload, kind, count(attempted_at) AS attempts,
       extract(epoch FROM clock_timestamp() - max(attempted_at))::double precision AS seconds_ago
FROM event
LEFT JOIN streamflow.event_deliveries AS attempt USING (event_id)
WHERE NOT EXISTS (
    SELECT FROM streamflow.event_deliveries AS done
    WHERE done.event_id = event.event_id AND done.delivered
)
GROUP BY event_id, at, number, payload, kind
ORDER BY kind = 'alarm raised', number
LIMIT 1

-- name: record_delivery
INSERT INTO streamflow.event_deliveries (event_id, delivered, status, problem)
VALUES (%(event_id)s, %(delivered)s, %(status)s, %(problem)s)

-- name: event_backlog
WITH event AS (
    SELECT event_id, false AS of_alarm, number, changed_at AS at
    FROM streamflow.model_events JOIN streamflow.model_history USING (model, number)
    WHERE model = %(model)s
    UNION ALL
    SELECT event_id, true, monitoring_id * 1000 + position, written_at
    FROM streamflow.alarm_events
    WHERE model = %(model)s
), waiting AS (
    SELECT *
    FROM event
    WHERE NOT EXISTS (
        SELECT FROM streamflow.event_deliveries AS done
        WHERE done.event_id = event.event_id AND done.delivered
    )
), oldest AS (
    SELECT event_id, at FROM waiting ORDER BY of_alarm, number LIMIT 1
)
SELECT (SELECT count(*) FROM waiting) AS waiting,
       (SELECT at FROM oldest) AS oldest_at,
       (SELECT count(*) FROM streamflow.event_deliveries JOIN oldest USING (event_id)) AS attempts,
       (SELECT problem FROM streamflow.event_deliveries JOIN oldest USING (event_id)
        ORDER BY attempted_at DESC LIMIT 1) AS problem

-- name: month_stands
-- Not all that was known of the month when this was made has been withdrawn.
coalesce((
    SELECT bool_or(withdrawn.ingestion_id IS NULL)
    FROM streamflow.ingestions AS loaded
    LEFT JOIN streamflow.withdrawals AS withdrawn USING (ingestion_id)
    WHERE loaded.use_case = {use_case} AND loaded.as_of = {made}.as_of
      AND loaded.recorded_at <= {made}.known_at
), true)

-- name: newest_scoring
-- The newest of these; without a version, of those by a version that was in Production then.
SELECT scoring_id, model, version, model_hash, run_id, stage, as_of, known_at, scored_at, scored_by,
       entities, departed, refused
FROM streamflow.scorings
WHERE model = %(model)s
  AND (%(as_of)s::date IS NULL OR as_of = %(as_of)s)
  AND CASE WHEN %(version)s::integer IS NULL THEN stage = 'Production'
      ELSE version = %(version)s END
  AND {month_stands}
ORDER BY as_of DESC, known_at DESC, scoring_id DESC
LIMIT 1

-- name: scoring_of
SELECT scoring_id, model, version, model_hash, run_id, stage, as_of, known_at, scored_at, scored_by,
       entities, departed, refused
FROM streamflow.scorings
WHERE (model, version, model_hash, as_of, known_at)
    = (%(model)s, %(version)s, %(model_hash)s, %(as_of)s, %(known_at)s)

-- name: score_of
-- One row: nulls if the scoring doesn't know the entity.
SELECT probability, label, rank, decile, problem
FROM (SELECT) AS one
LEFT JOIN streamflow.scores AS scored
    ON scored.scoring_id = %(scoring_id)s AND scored.entity_id = %(entity_id)s
LEFT JOIN streamflow.unscored AS without
    ON without.scoring_id = %(scoring_id)s AND without.entity_id = %(entity_id)s

-- name: scores_of
-- $1 is an array of ids; sent to libpq as it is. Per id, in any order, the newest scoring, and what
-- the one with this number has of it: a row per reason, or one without a reason. With the number in
-- the text, PostgreSQL plans for that scoring's partitions alone.
SELECT given.position, newest.scoring_id, newest.model, newest.version, newest.model_hash,
       newest.run_id, newest.stage, newest.as_of, newest.known_at, newest.scored_at,
       newest.scored_by, newest.entities, newest.departed, newest.refused,
       scored.probability, scored.label, scored.rank, scored.decile, without.problem,
       reason.position, reason.feature, reason.value, reason.contribution, reason.background,
       reason.sentence
FROM unnest($1::text[]) WITH ORDINALITY AS given (entity_id, position)
LEFT JOIN (
    SELECT scoring_id, model, version, model_hash, run_id, stage, as_of, known_at, scored_at,
           scored_by, entities, departed, refused
    FROM streamflow.scorings
    WHERE model = {model} AND stage = 'Production' AND {month_stands}
    ORDER BY as_of DESC, known_at DESC, scoring_id DESC
    LIMIT 1
) AS newest ON true
LEFT JOIN streamflow.scores AS scored
    ON scored.scoring_id = {scoring_id} AND scored.entity_id = given.entity_id
LEFT JOIN streamflow.unscored AS without
    ON without.scoring_id = {scoring_id} AND without.entity_id = given.entity_id
LEFT JOIN streamflow.reasons AS reason
    ON reason.scoring_id = {scoring_id} AND reason.entity_id = given.entity_id
ORDER BY given.position, reason.position

-- name: scores_of_scoring
-- A row of arrays per 10,000 entities, in the order of their ranks.
SELECT
    array_agg(entity_id ORDER BY rank) AS entities,
    array_agg(probability ORDER BY rank) AS probabilities,
    array_agg(label ORDER BY rank) AS labels,
    array_agg(rank ORDER BY rank) AS ranks,
    array_agg(decile ORDER BY rank) AS deciles
FROM streamflow.scores
WHERE scoring_id = %(scoring_id)s
GROUP BY (rank - 1) / 10000
ORDER BY (rank - 1) / 10000

-- name: lock_scoring
SELECT pg_advisory_xact_lock(hashtext('streamflow scoring'), hashtext(%(model)s))

-- name: begin_scoring
SELECT streamflow.begin_scoring(%(model)s, %(version)s, %(model_hash)s, %(as_of)s, %(known_at)s)
    AS unfinished_id

-- name: copy_unfinished_scores
COPY streamflow.unfinished_scores (unfinished_id, entity_id, probability, label, problem)
FROM STDIN WITH (FORMAT csv)

-- name: count_unfinished_scores
SELECT count(*) AS entities FROM streamflow.unfinished_scores
WHERE unfinished_id = %(unfinished_id)s

-- name: stored_entities
SELECT entity_id FROM streamflow.unfinished_scores WHERE unfinished_id = %(unfinished_id)s

-- name: scored_between
SELECT entity_id FROM streamflow.unfinished_scores
WHERE unfinished_id = %(unfinished_id)s AND entity_id BETWEEN %(first)s AND %(last)s

-- name: record_departed
-- Who was known before and has no row at the as_of.
INSERT INTO streamflow.unfinished_scores (unfinished_id, entity_id, problem)
SELECT %(unfinished_id)s, {key}, 'departed'
FROM (
    SELECT {key} FROM {history} AS history
    WHERE as_of < %(as_of)s AND recorded_at <= %(known_at)s
    EXCEPT
    SELECT {key} FROM {history} AS history
    WHERE as_of = %(as_of)s AND recorded_at <= %(known_at)s
) AS gone

-- name: finish_scoring
SELECT streamflow.finish_scoring(%(unfinished_id)s, %(run_id)s, %(stage)s, %(scored_at)s,
                                 %(scored_by)s) AS scoring_id

-- name: lock_explanation
SELECT pg_advisory_xact_lock(hashtext('streamflow explanation'), %(scoring_id)s::integer)

-- name: explanations
SELECT scoring_id, first_rank, last_rank, explained_at, explained_by, scale, base, background,
       entities, refused
FROM streamflow.explanations
WHERE scoring_id = %(scoring_id)s
ORDER BY first_rank

-- name: ranked_scores
SELECT entity_id, probability
FROM streamflow.scores
WHERE scoring_id = %(scoring_id)s AND rank BETWEEN %(first_rank)s AND %(last_rank)s
ORDER BY rank

-- name: background_entities
SELECT entity_id
FROM streamflow.scores
WHERE scoring_id = %(scoring_id)s
ORDER BY sha256(convert_to(entity_id, 'UTF8')), entity_id
LIMIT %(rows)s

-- name: record_explanation
INSERT INTO streamflow.explanations
    (scoring_id, first_rank, last_rank, explained_at, explained_by, scale, base, background,
     entities, refused)
VALUES (%(scoring_id)s, %(first_rank)s, %(last_rank)s, %(explained_at)s, %(explained_by)s,
        %(scale)s, %(base)s, %(background)s, %(entities)s, %(refused)s)

-- name: copy_reasons
COPY streamflow.reasons
    (scoring_id, entity_id, position, feature, value, contribution, background, sentence)
FROM STDIN WITH (FORMAT csv)

-- name: copy_unexplained
COPY streamflow.unexplained (scoring_id, entity_id, error) FROM STDIN WITH (FORMAT csv)

-- name: reasons_of
SELECT position, feature, value, contribution, background, sentence
FROM streamflow.reasons
WHERE scoring_id = %(scoring_id)s AND entity_id = %(entity_id)s
ORDER BY position

-- name: refused_explanations
SELECT entity_id
FROM streamflow.unexplained
WHERE scoring_id = %(scoring_id)s
ORDER BY entity_id
LIMIT %(most)s

-- name: frequent_reasons
-- Of the entities with the highest ranks; what lowers a score isn't why somebody is on a list.
SELECT feature, count(*) AS entities, count(*) FILTER (WHERE position = 1) AS strongest,
       avg(contribution) AS mean_contribution
FROM streamflow.reasons
JOIN streamflow.scores USING (scoring_id, entity_id)
WHERE scoring_id = %(scoring_id)s AND contribution > 0
  AND (%(last_rank)s::bigint IS NULL OR rank <= %(last_rank)s)
GROUP BY feature
ORDER BY entities DESC, feature
LIMIT %(most)s

-- name: record_evaluation
INSERT INTO streamflow.evaluations
    (model, version, run_id, model_hash, as_of, known_at, evaluated_at, evaluated_by, rows,
     positives, trained_on, rows_hash, data_hash, figures)
VALUES (%(model)s, %(version)s, %(run_id)s, %(model_hash)s, %(as_of)s, %(known_at)s,
        %(evaluated_at)s, %(evaluated_by)s, %(rows)s, %(positives)s, %(trained_on)s,
        %(rows_hash)s, %(data_hash)s, %(figures)s)

-- name: evaluations
SELECT model, version, run_id, model_hash, as_of, known_at, evaluated_at, evaluated_by, rows,
       positives, trained_on, rows_hash, data_hash, figures
FROM streamflow.evaluations
WHERE model = %(model)s
ORDER BY evaluation_id

-- name: lock_evaluation
SELECT pg_advisory_xact_lock_shared(hashtext('streamflow step')),
       pg_advisory_xact_lock(hashtext('streamflow evaluation'), hashtext(%(model)s))

-- name: lock_monitoring
SELECT pg_advisory_xact_lock_shared(hashtext('streamflow step')),
       pg_advisory_xact_lock(hashtext('streamflow monitoring'), hashtext(%(model)s))

-- name: newest_monitoring
SELECT monitoring_id, model, version, run_id, model_hash, as_of, known_at, made_at,
       training_months, month_before, entities, tests, retraining, content_hash
FROM streamflow.monitorings
WHERE model = %(model)s AND as_of = %(as_of)s
  AND (%(version)s::integer IS NULL OR version = %(version)s)
ORDER BY monitoring_id DESC
LIMIT 1

-- name: newest_monitored_month
SELECT monitoring_id, as_of
FROM streamflow.monitorings
WHERE model = %(model)s AND {month_stands}
ORDER BY as_of DESC, monitoring_id DESC
LIMIT 1

-- name: alarms
SELECT rule, what, severity, figure, bound, compared_with, sentence
FROM streamflow.alarms
WHERE monitoring_id = %(monitoring_id)s
ORDER BY position

-- name: monitored_figures
SELECT subject, what, compared_with, figures
FROM streamflow.monitored_figures
WHERE monitoring_id = %(monitoring_id)s
ORDER BY position

-- name: monitored_months
SELECT DISTINCT as_of FROM streamflow.monitorings WHERE model = %(model)s ORDER BY as_of

-- name: monitored_before
SELECT max(known_at) AS known_at
FROM streamflow.monitorings
WHERE model = %(model)s AND as_of < %(as_of)s

-- name: months_judged
SELECT DISTINCT figures ->> 'month' AS month
FROM streamflow.monitorings
JOIN streamflow.monitored_figures USING (monitoring_id)
WHERE model = %(model)s AND as_of < %(as_of)s AND subject = 'quality'
  AND figures ? 'auc'

-- name: record_monitoring
INSERT INTO streamflow.monitorings
    (model, version, run_id, model_hash, as_of, known_at, made_at, training_months, month_before,
     entities, tests, retraining, content_hash)
VALUES (%(model)s, %(version)s, %(run_id)s, %(model_hash)s, %(as_of)s, %(known_at)s, %(made_at)s,
        %(training_months)s::date[], %(month_before)s, %(entities)s, %(tests)s, %(retraining)s,
        %(content_hash)s)
RETURNING monitoring_id

-- name: record_figures
INSERT INTO streamflow.monitored_figures
    (monitoring_id, position, subject, what, compared_with, figures)
SELECT %(monitoring_id)s, position, given ->> 'subject', given ->> 'what',
       given ->> 'compared_with', given -> 'figures'
FROM jsonb_array_elements(%(rows)s::jsonb) WITH ORDINALITY AS rows (given, position)

-- name: record_alarms
INSERT INTO streamflow.alarms
    (monitoring_id, position, rule, what, severity, figure, bound, compared_with, sentence)
SELECT %(monitoring_id)s, position, given ->> 'rule', given ->> 'what', given ->> 'severity',
       (given ->> 'figure')::double precision, (given ->> 'bound')::double precision,
       given ->> 'compared_with', given ->> 'sentence'
FROM jsonb_array_elements(%(rows)s::jsonb) WITH ORDINALITY AS rows (given, position)

-- name: record_alarm_events
INSERT INTO streamflow.alarm_events (model, monitoring_id, position, payload)
SELECT model, monitoring_id, position, jsonb_build_object(
    'type', 'model.alarm_raised',
    'timestamp', to_char(made_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'data', jsonb_build_object(
        'model', model, 'version', version, 'model_hash', model_hash, 'run_id', run_id,
        'as_of', as_of, 'rule', rule, 'what', what, 'severity', severity, 'figure', figure,
        'bound', bound, 'compared_with', compared_with, 'why', sentence,
        'monitoring', monitoring_id, 'number', position, 'details', jsonb_build_object()
    )
)
FROM streamflow.monitorings
JOIN streamflow.alarms USING (monitoring_id)
WHERE monitoring_id = %(monitoring_id)s
ORDER BY position

-- name: rows_of_months
-- Of a table with one file for each of the months: an entity has one row in each.
(SELECT {columns}
 FROM {history} AS history
 WHERE as_of = ANY(%(as_ofs)s::date[]) AND recorded_at <= %(known_at)s)

-- name: newest_rows_of_months
(SELECT DISTINCT ON ({key}, as_of) {columns}
 FROM {history} AS history
 WHERE as_of = ANY(%(as_ofs)s::date[]) AND recorded_at <= %(known_at)s
 ORDER BY {key}, as_of, recorded_at DESC)

-- name: count_rows
SELECT count(*) AS rows FROM {rows} AS month_rows

-- name: counted_number
-- A value's bin, and its magnitude if it is above 0.
width_bucket(nullif({column}::double precision, 'NaN'), %(edges)s::double precision[]) AS {bin},
CASE WHEN {column}::double precision > 0 AND {column}::double precision < 'Infinity'
    THEN floor(200 * log({column}::double precision))::integer END AS {magnitude}

-- name: counted_category
{column}::text AS {bin}

-- name: number_set
({bin}, {magnitude})

-- name: category_set
({bin})

-- name: number_summary
min(nullif({column}::double precision, 'NaN')) AS {least},
max(nullif({column}::double precision, 'NaN')) AS {greatest},
sum(nullif({column}::double precision, 'NaN') - %(center)s) AS {deviations},
sum((nullif({column}::double precision, 'NaN') - %(center)s) ^ 2) AS {squares}

-- name: count_features
-- In one pass, the rows of each bin of each feature. In the mask `others`, the feature's bit is 0.
SELECT GROUPING({bins}) AS others, coalesce({number_bins}) AS bin, coalesce({categories}) AS category,
       coalesce({magnitudes}) AS magnitude, count(*) AS rows
FROM (SELECT {values} FROM {rows} AS month_rows) AS binned
GROUP BY GROUPING SETS ({sets})

-- name: summarize_features
SELECT {summaries} FROM {rows} AS month_rows

-- name: one_number
({number}::text, nullif({column}::double precision, 'NaN'))

-- name: number_range
min(nullif({column}::double precision, 'NaN')) AS {least},
max(nullif({column}::double precision, 'NaN')) AS {greatest}

-- name: feature_quantiles
-- Of every so many entities, which are the same each time. The two zeros are one value.
SELECT feature,
       percentile_disc(%(levels)s::double precision[])
           WITHIN GROUP (ORDER BY CASE WHEN value = 0 THEN 0 ELSE value END) AS quantiles
FROM {rows} AS month_rows
CROSS JOIN LATERAL (VALUES {values}) AS one (feature, value)
WHERE value IS NOT NULL
  AND (%(every)s = 1 OR ('x' || left(md5({key}), 8))::bit(32)::bigint %% %(every)s = 0)
GROUP BY feature

-- name: monitoring_bins
SELECT bins FROM streamflow.monitoring_bins WHERE run_id = %(run_id)s

-- name: record_monitoring_bins
INSERT INTO streamflow.monitoring_bins (run_id, model, bins)
VALUES (%(run_id)s, %(model)s, %(bins)s)
ON CONFLICT (run_id) DO NOTHING

-- name: scored_rows
SELECT probability, label
FROM streamflow.scores
WHERE scoring_id = %(scoring_id)s
ORDER BY entity_id

-- name: judged_scores
SELECT judged.probability, judged.prediction, judged.judged_label::integer {segments}
FROM (
    SELECT entity_id, probability, scores.label AS prediction, labels.{label} AS judged_label,
           %(as_of)s::date AS as_of
    FROM streamflow.scores AS scores
    JOIN (
        SELECT DISTINCT ON ({key}) {key}, {label}
        FROM {label_history} AS history
        WHERE as_of = %(as_of)s AND recorded_at <= %(known_at)s
        ORDER BY {key}, recorded_at DESC
    ) AS labels ON labels.{key} = scores.entity_id
    WHERE scoring_id = %(scoring_id)s AND labels.{label} IS NOT NULL
) AS judged
{joins}
ORDER BY judged.entity_id COLLATE "C"

-- name: validation_rows
SELECT judged.probability, judged.prediction, judged.judged_label {segments}
FROM unnest(
    %(entities)s::text[], %(as_ofs)s::date[], %(probabilities)s::double precision[],
    %(predictions)s::integer[], %(labels)s::integer[]
) AS judged (entity_id, as_of, probability, prediction, judged_label)
{joins}
ORDER BY judged.as_of, judged.entity_id COLLATE "C"

-- name: segment_column
, {number}.{column}::text

-- name: segment_join
LEFT JOIN {rows} AS {number}
    ON {number}.{key} = judged.entity_id AND {number}.as_of = judged.as_of

-- name: newest_scorings
-- Of each month, the newest scoring by each version.
SELECT DISTINCT ON (as_of, version)
    scoring_id, model, version, model_hash, run_id, stage, as_of, known_at, scored_at, scored_by,
    entities, departed, refused
FROM streamflow.scorings
WHERE model = %(model)s AND as_of <= %(as_of)s AND known_at <= %(known_at)s
ORDER BY as_of, version, known_at DESC, scoring_id DESC

-- name: rows_by_month
SELECT as_of, count(*) AS rows
FROM {history} AS history
WHERE as_of = ANY(%(as_ofs)s::date[]) AND recorded_at <= %(known_at)s
GROUP BY as_of

-- name: entities_by_month
SELECT as_of, count(*) AS rows, count(DISTINCT {key}) AS entities
FROM {history} AS history
WHERE as_of = ANY(%(as_ofs)s::date[]) AND recorded_at <= %(known_at)s
GROUP BY as_of

-- name: compare_entities
SELECT count(*) FILTER (WHERE earlier.{key} IS NULL) AS new,
       count(*) FILTER (WHERE later.{key} IS NULL) AS absent
FROM {later} AS later
FULL JOIN {earlier} AS earlier ON earlier.{key} = later.{key}

-- name: same_rows_of_months
-- Of some of a month's rows, per other month how many have the same values there.
WITH some_rows AS MATERIALIZED (
    SELECT {key}, {columns} FROM {rows} AS month_rows
    ORDER BY md5({key}), {key} COLLATE "C" LIMIT %(compared)s
)
SELECT history.as_of, count(DISTINCT some_rows.{key}) AS same,
       (SELECT count(*) FROM some_rows) AS compared
FROM some_rows
JOIN {history} AS history USING ({key})
WHERE history.as_of <> %(as_of)s AND history.recorded_at <= %(known_at)s
  AND ROW({some_columns}) IS NOT DISTINCT FROM ROW({history_columns})
GROUP BY history.as_of
ORDER BY same DESC, history.as_of DESC

-- name: labels_after
-- How many labels are known of months that a version wasn't trained on.
SELECT count(DISTINCT ({key}, as_of)) AS labels
FROM {label_history} AS history
WHERE as_of <> ALL(%(as_ofs)s::date[]) AND as_of > %(since)s AND recorded_at <= %(known_at)s
  AND {label} IS NOT NULL

-- name: lock_promotion
SELECT pg_advisory_xact_lock_shared(hashtext('streamflow step')),
       pg_advisory_xact_lock(hashtext('streamflow promotion'), hashtext(%(model)s))

-- name: try_lock_promotion
SELECT pg_try_advisory_xact_lock(hashtext('streamflow promotion'), hashtext(%(model)s)) AS locked

-- name: lock_training
SELECT pg_advisory_xact_lock_shared(hashtext('streamflow step')),
       pg_advisory_xact_lock(hashtext('streamflow training'), hashtext(%(model)s))

-- name: lock_step
-- Shared by steps that write in more than one transaction: no backup begins during one.
SELECT pg_advisory_xact_lock_shared(hashtext('streamflow step'))

-- name: lock_steps
-- Waits for the steps under way; no other step begins while it is held.
SELECT pg_advisory_xact_lock(hashtext('streamflow step'))

-- name: try_lock_steps
SELECT pg_try_advisory_xact_lock(hashtext('streamflow step')) AS locked

-- name: begin_snapshot
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- name: lock_partitions
-- No day of the prediction log that is in the snapshot is dropped before it is read; nor are its
-- shadow scores, which are dropped after it.
LOCK TABLE streamflow.predictions IN ACCESS SHARE MODE

-- name: export_snapshot
SELECT pg_export_snapshot() AS snapshot

-- name: own_schemas
-- With the history of other use cases in the same database.
SELECT nspname AS name
FROM pg_namespace
WHERE nspname IN ('streamflow', 'feast', 'online', %(history)s)
   OR nspname IN (SELECT use_case FROM streamflow.ingestions)
ORDER BY name

-- name: newest_migration
SELECT max(number) AS number, current_setting('server_version') AS server_version
FROM streamflow.migrations

-- name: experiment_at
SELECT experiment_id
FROM mlflow.experiments
WHERE artifact_location = %(location)s
ORDER BY experiment_id

-- name: existing_schemas
SELECT nspname AS name, obj_description(oid, 'pg_namespace') AS comment,
    (SELECT count(*) FROM pg_class WHERE relnamespace = schema.oid AND relkind IN ('r', 'p'))
        AS tables
FROM pg_namespace AS schema
WHERE nspname = ANY(%(names)s)
ORDER BY name

-- name: database_owner
SELECT pg_get_userbyid(datdba) AS name FROM pg_database WHERE datname = current_database()

-- name: set_role
SET ROLE {role}

-- name: drop_schema
DROP SCHEMA {schema}

-- name: create_schema
CREATE SCHEMA {schema}

-- name: rename_schema
ALTER SCHEMA {schema} RENAME TO {name}

-- name: comment_on_schema
COMMENT ON SCHEMA {schema} IS {text}

-- name: create_temporary_role
CREATE ROLE {name} LOGIN PASSWORD {password}
    NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS

-- name: create_temporary_database
CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'

-- name: open_temporary_database
GRANT CONNECT, CREATE ON DATABASE {name} TO {name}

-- name: drop_temporary_database
DROP DATABASE IF EXISTS {name} WITH (FORCE)

-- name: drop_temporary_role
DROP ROLE IF EXISTS {name}

-- name: abandoned_temporary_databases
-- A process that uses one is connected to it.
SELECT name
FROM (
    SELECT rolname FROM pg_roles WHERE starts_with(rolname, %(prefix)s)
    UNION
    SELECT datname FROM pg_database WHERE starts_with(datname, %(prefix)s)
) AS found (name)
WHERE name NOT IN (SELECT datname FROM pg_stat_activity WHERE datname IS NOT NULL)
  AND name NOT IN (SELECT usename FROM pg_stat_activity WHERE usename IS NOT NULL)

-- name: unexpected_objects
-- Objects that PostgreSQL itself creates with a database have numbers below 16384.
WITH expected_schema AS (
    SELECT oid FROM pg_namespace WHERE oid >= 16384 AND nspname = ANY(%(schemas)s)
), plain_relation AS (
    SELECT oid, relkind FROM pg_class
    WHERE oid >= 16384
      AND relkind IN ('r', 'p', 'i', 'I', 'S', 't')
      AND (relnamespace IN (SELECT oid FROM expected_schema) OR relkind IN ('t', 'i'))
      AND (relkind <> 'i' OR oid IN (
          SELECT indexrelid FROM pg_index JOIN pg_class AS indexed ON indexed.oid = indrelid
          WHERE indexed.relkind = 't'
             OR indexed.relnamespace IN (SELECT oid FROM expected_schema)))
      AND relpersistence = 'p' AND reloftype = 0
      AND NOT relrowsecurity AND NOT relforcerowsecurity AND NOT relhasrules
      AND relacl IS NULL
      AND relname !~ '[[:cntrl:]]'
), plain_function AS (
    SELECT pg_proc.oid FROM pg_proc
    WHERE pg_proc.oid >= 16384
      AND encode(sha256(convert_to(prosrc, 'UTF8')), 'hex') = ANY(%(functions)s)
      AND prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql')
      AND prorettype = 'trigger'::regtype AND NOT prosecdef AND proconfig IS NULL
      AND proacl IS NULL AND pronamespace IN (SELECT oid FROM expected_schema)
), expression (classid, objid, tree) AS (
    SELECT tableoid, oid, adbin::text FROM pg_attrdef WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, conbin::text FROM pg_constraint WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_class'::regclass, indexrelid, concat(indexprs::text, indpred::text)
    FROM pg_index WHERE indexrelid >= 16384
    UNION ALL
    SELECT 'pg_class'::regclass, partrelid, partexprs::text FROM pg_partitioned_table
    UNION ALL
    SELECT tableoid, oid, tgqual::text FROM pg_trigger WHERE NOT tgisinternal
), called (classid, objid, function) AS (
    SELECT classid, objid, coalesce(oprcode, number)
    FROM expression
    CROSS JOIN regexp_matches(tree, ':(opno|[a-z]*func(?:id)?|[a-z]*fnoid) (\d+)', 'g') AS matched
    CROSS JOIN LATERAL (SELECT matched[2]::oid) AS found (number)
    LEFT JOIN pg_operator ON matched[1] = 'opno' AND pg_operator.oid = number
    WHERE number <> 0
), unexpected (classid, objid, subid) AS (
    SELECT tableoid, oid, 0 FROM pg_namespace
    WHERE oid >= 16384
      AND (oid NOT IN (SELECT oid FROM expected_schema) OR nspacl IS NOT NULL)
      AND NOT (nspname ~ '^pg_(toast_)?temp_')
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_class
    WHERE oid >= 16384 AND oid NOT IN (SELECT oid FROM plain_relation)
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_type AS type
    WHERE oid >= 16384
      AND (typacl IS NOT NULL
           OR coalesce((SELECT typrelid FROM pg_type WHERE oid = type.typelem AND type.typcategory = 'A'),
                       typrelid) NOT IN (SELECT oid FROM plain_relation WHERE relkind IN ('r', 'p')))
    UNION ALL
    SELECT 'pg_class'::regclass, attrelid, attnum FROM pg_attribute
    WHERE attrelid >= 16384
      AND (atttypid >= 16384 OR attacl IS NOT NULL OR attname ~ '[[:cntrl:]]')
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_proc
    WHERE oid >= 16384 AND oid NOT IN (SELECT oid FROM plain_function)
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_trigger
    WHERE NOT tgisinternal AND tgfoid NOT IN (SELECT oid FROM plain_function)
    UNION ALL
    SELECT 'pg_class'::regclass, inhrelid, 0
    FROM pg_inherits JOIN pg_class AS parent ON parent.oid = inhparent
    WHERE parent.relkind NOT IN ('p', 'I')
    UNION ALL
    SELECT classid, objid, 0
    FROM called LEFT JOIN pg_proc ON pg_proc.oid = function AND pg_proc.oid < 16384
    WHERE provolatile IS DISTINCT FROM 'i'
      AND coalesce(proname, '') NOT IN
          ('nextval', 'now', 'clock_timestamp', 'statement_timestamp', 'gen_random_uuid')
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_am WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_cast WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_collation WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_conversion WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_default_acl WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_event_trigger WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_extension WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_foreign_data_wrapper WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_foreign_server WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_language WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_largeobject'::regclass, oid, 0 FROM pg_largeobject_metadata
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_opclass WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_operator WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_opfamily WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_policy WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_publication WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_rewrite WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_statistic_ext WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_transform WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_ts_config WHERE oid >= 16384
    UNION ALL
    SELECT tableoid, oid, 0 FROM pg_ts_dict WHERE oid >= 16384
)
SELECT DISTINCT coalesce(
    pg_describe_object(classid, objid, subid), format('%%s %%s', classid::regclass, objid)
) AS description
FROM unexpected
ORDER BY description

-- name: drop_functions
-- With the triggers of history, which use one of them.
SELECT coalesce(string_agg(statement, ' ' ORDER BY statement DESC), '') AS statements
FROM (
    SELECT format('DROP TRIGGER rewritten ON %%s;', tgrelid::regclass) AS statement
    FROM pg_trigger
    WHERE tgname = 'rewritten' AND NOT tgisinternal
      AND tgfoid = to_regprocedure('streamflow.record_rewritten_history()')
    UNION ALL
    SELECT format('DROP ROUTINE %%s;', oid::regprocedure)
    FROM pg_proc
    WHERE pronamespace = to_regnamespace('streamflow')
) AS statements

-- name: create_history_triggers
DO $$
DECLARE
    history regclass;
BEGIN
    FOR history IN
        SELECT attrelid
        FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid
        WHERE (relkind = 'p' AND right(relname, 8) = '_history' OR relkind = 'r' AND relispartition)
          AND attname IN ('as_of', 'event_timestamp', 'recorded_at', 'ingestion_id')
        GROUP BY attrelid
        HAVING count(*) = 4
    LOOP
        PERFORM streamflow.watch_history(history);
    END LOOP;
END
$$

-- name: structure
-- The tables of the schema, but for the prediction log's partitions, which are made by the day.
WITH relation AS (
    SELECT oid, relname, relkind FROM pg_class
    WHERE relnamespace = 'streamflow'::regnamespace AND NOT relispartition
)
SELECT format('%%s is of the kind %%s, partitioned by %%s', relname, relkind, pg_get_partkeydef(oid))
    AS fact
FROM relation
UNION ALL
SELECT format('%%s.%%s is %%s %%s %%s %%s %%s', relname, attname, format_type(atttypid, atttypmod),
              CASE WHEN attnotnull THEN 'not null' END, attidentity, attgenerated,
              pg_get_expr(adbin, adrelid))
FROM relation
JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relkind IN ('r', 'p')
UNION ALL
SELECT format('%%s has %%s', relname, pg_get_constraintdef(pg_constraint.oid))
FROM relation
JOIN pg_constraint ON conrelid = relation.oid AND contype <> 'n'
UNION ALL
SELECT pg_get_indexdef(indexrelid)
FROM relation
JOIN pg_index ON indexrelid = relation.oid

-- name: put_schema_aside
ALTER SCHEMA streamflow RENAME TO "put aside"

-- name: revoke_functions
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA streamflow FROM PUBLIC

-- name: move_artifacts
-- For each column in which MLflow names artifacts, a statement that replaces `old` by `new`.
SELECT format(
    $$UPDATE %%1$I.%%2$I SET %%3$I = CASE WHEN %%3$I = %%4$L THEN %%5$L
        ELSE rtrim(%%5$L, '/') || substr(%%3$I, length(rtrim(%%4$L, '/')) + 1) END
      WHERE %%3$I = %%4$L OR starts_with(%%3$I, rtrim(%%4$L, '/') || '/')$$,
    table_schema, table_name, column_name, %(old)s::text, %(new)s::text)
FROM information_schema.columns
WHERE table_schema = %(schema)s AND (table_name, column_name) IN (
    ('experiments', 'artifact_location'), ('runs', 'artifact_uri'),
    ('logged_models', 'artifact_location'),
    ('model_versions', 'source'), ('model_versions', 'storage_location'))

-- name: analyze
ANALYZE

-- name: lock_predictions
SELECT pg_advisory_xact_lock(hashtext('streamflow predictions'))

-- name: set_lock_timeout
-- A long query on the log must not block this transaction, nor the writers that wait behind it.
SET LOCAL lock_timeout = '1s'

-- name: prediction_partitions
SELECT partition.relname AS name
FROM pg_inherits
JOIN pg_class AS partition ON partition.oid = inhrelid
WHERE inhparent = 'streamflow.predictions'::regclass
ORDER BY name

-- name: create_prediction_partition
SELECT streamflow.create_prediction_partition(%(day)s)

-- name: may_drop_predictions
SELECT has_function_privilege('streamflow.drop_prediction_partition(date)', 'EXECUTE') AS may

-- name: drop_prediction_partition
SELECT streamflow.drop_prediction_partition(%(day)s)

-- name: may_count_days
SELECT has_table_privilege('streamflow.served_days', 'INSERT') AS may

-- name: counted_days
SELECT DISTINCT day FROM streamflow.served_days

-- name: count_day
INSERT INTO streamflow.served_days (day, served_model, predictions, first_at, last_at)
SELECT %(day)s, served_model, count(*), min(predicted_at), max(predicted_at)
FROM streamflow.predictions
WHERE predicted_at >= %(day)s::date::timestamp AT TIME ZONE 'UTC'
  AND predicted_at < %(after)s::date::timestamp AT TIME ZONE 'UTC'
GROUP BY served_model
ON CONFLICT DO NOTHING

-- name: served_model_uses
-- Of days that were counted, and of those in the log that weren't.
WITH days AS (
    SELECT served_model, predictions, first_at, last_at FROM streamflow.served_days
    UNION ALL
    SELECT served_model, count(*), min(predicted_at), max(predicted_at)
    FROM streamflow.predictions
    WHERE predicted_at >= coalesce((SELECT max(day) + 1 FROM streamflow.served_days)::timestamp
                                       AT TIME ZONE 'UTC', '-infinity')
    GROUP BY served_model
)
SELECT version, model_hash, sum(predictions)::bigint AS predictions, min(first_at) AS first_at,
       max(last_at) AS last_at
FROM days
JOIN streamflow.served_models USING (served_model)
WHERE model = %(model)s
GROUP BY version, model_hash
ORDER BY version, model_hash

-- name: answered_at
-- The last prediction at or before a time, and the first one after it; looked for near it alone.
(SELECT predicted_at, version, model_hash, request_id, stage
 FROM streamflow.predictions JOIN streamflow.served_models USING (served_model)
 WHERE model = %(model)s AND predicted_at <= %(at)s
   AND predicted_at > %(at)s - %(within)s::interval
 ORDER BY predicted_at DESC LIMIT 1)
UNION ALL
(SELECT predicted_at, version, model_hash, request_id, stage
 FROM streamflow.predictions JOIN streamflow.served_models USING (served_model)
 WHERE model = %(model)s AND predicted_at > %(at)s
   AND predicted_at < %(at)s + %(within)s::interval
 ORDER BY predicted_at LIMIT 1)

-- name: record_served_model
INSERT INTO streamflow.served_models
    (served_model, model, version, run_id, stage, model_hash, features)
VALUES (%(served_model)s, %(model)s, %(version)s, %(run_id)s, %(stage)s, %(model_hash)s,
        %(features)s)
ON CONFLICT DO NOTHING

-- name: versions_in_log
-- Those that the prediction log has an answer or a shadow score of.
SELECT DISTINCT served.version
FROM streamflow.served_models AS served
WHERE served.model = %(model)s AND served.served_model IN (
    SELECT served_model FROM streamflow.predictions
    UNION ALL SELECT answered_by FROM streamflow.shadow_scores
    UNION ALL SELECT shadow FROM streamflow.shadow_scores
)

-- name: copy_predictions
COPY streamflow.predictions
    (predicted_at, served_model, prediction, probability, feature_times, features, problem,
     request_id, entity_id)
FROM STDIN WITH (FORMAT binary)

-- name: copy_shadow_scores
COPY streamflow.shadow_scores
    (predicted_at, answered_by, shadow, prediction, probability, problem, shadow_prediction,
     shadow_probability, shadow_problem, request_id, entity_id)
FROM STDIN WITH (FORMAT binary)

-- name: predictions
-- A row that was written twice, because the first write wasn't confirmed, is returned once.
SELECT DISTINCT ON (predicted_at, request_id, entity_id)
    predicted_at, request_id, entity_id, prediction, probability, feature_times, given.features,
    problem, model, version, run_id, stage, model_hash, served.features AS features_of_model
FROM streamflow.predictions AS given
JOIN streamflow.served_models AS served USING (served_model)
WHERE request_id = ANY(%(request_ids)s) AND model = %(model)s
ORDER BY predicted_at, request_id, entity_id

-- name: logged_predictions
-- In order, from after a moment or after one of them; each once, also where it was written twice.
SELECT DISTINCT ON (predicted_at, request_id, entity_id)
    predicted_at, request_id, entity_id, prediction, probability, feature_times, given.features,
    problem, model, version, run_id, stage, model_hash, served.features AS features_of_model
FROM streamflow.predictions AS given
JOIN streamflow.served_models AS served USING (served_model)
WHERE model = %(model)s AND predicted_at <= %(until)s
  AND (%(after)s::timestamptz IS NULL
       OR predicted_at > %(after)s
       OR predicted_at = %(after)s
          AND (request_id, entity_id) > (%(after_request)s::text, %(after_entity)s::text))
ORDER BY predicted_at, request_id, entity_id
LIMIT %(most)s

-- name: shadow_pairs
-- Each once, also where a write wasn't confirmed and was made again.
SELECT DISTINCT ON (predicted_at, request_id, entity_id)
    predicted_at, request_id, entity_id, answer.version AS answered_by,
    given.prediction, given.probability, given.problem,
    shadow_prediction, shadow_probability, shadow_problem
FROM streamflow.shadow_scores AS given
JOIN streamflow.served_models AS answer ON answer.served_model = answered_by
JOIN streamflow.served_models AS beside ON beside.served_model = shadow
WHERE answer.model = %(model)s AND beside.model = %(model)s
  AND ((answer.version = %(first)s AND beside.version = %(second)s)
       OR (answer.version = %(second)s AND beside.version = %(first)s))
  AND (%(since)s::timestamptz IS NULL OR predicted_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR predicted_at < %(until)s)
ORDER BY predicted_at DESC, request_id, entity_id
LIMIT %(most)s

-- name: pair_labels
-- The month of a request is the newest one among its features; the label is that month's.
WITH pair (position, predicted_at, request_id, entity_id) AS (
    SELECT * FROM unnest(%(positions)s::integer[], %(times)s::timestamptz[], %(requests)s::text[],
                         %(entities)s::text[])
), given AS (
    SELECT position, entity_id,
        ((SELECT max(moment) FROM unnest(feature_times) AS moment) AT TIME ZONE 'UTC')::date AS as_of
    FROM pair
    JOIN streamflow.predictions USING (predicted_at, request_id, entity_id)
    WHERE predicted_at BETWEEN %(first)s AND %(last)s AND feature_times IS NOT NULL
)
SELECT DISTINCT ON (given.entity_id, given.as_of)
    position, given.entity_id, given.as_of, history.{label} AS label
FROM given
JOIN {label_history} AS history ON history.{key} = given.entity_id AND history.as_of = given.as_of
WHERE recorded_at <= %(known_at)s
ORDER BY given.entity_id, given.as_of, recorded_at DESC, position

-- name: pair_values
SELECT DISTINCT ON (position)
    position, given.features, served.features AS features_of_model
FROM unnest(%(positions)s::integer[], %(times)s::timestamptz[], %(requests)s::text[],
            %(entities)s::text[]) AS pair (position, predicted_at, request_id, entity_id)
JOIN streamflow.predictions AS given USING (predicted_at, request_id, entity_id)
JOIN streamflow.served_models AS served USING (served_model)
WHERE predicted_at BETWEEN %(first)s AND %(last)s AND given.features IS NOT NULL
ORDER BY position

-- name: materializations
SELECT feature_view, event_timestamp, known_at, finished_at, newest
FROM streamflow.materializations
WHERE use_case = %(use_case)s
ORDER BY finished_at NULLS FIRST, known_at

-- name: online_rows
-- The rows that are online after materializations with these window ends and known_at times. A
-- backfill has a recorded_at long before its ingested_at, so that ingested_at decides.
SELECT DISTINCT ON (history.{key})
    history.{key}, history.event_timestamp, history.recorded_at, history.ingestion_id, {columns}
FROM {history} AS history
JOIN streamflow.ingestions USING (ingestion_id)
JOIN unnest(%(ends)s::timestamptz[], %(known)s::timestamptz[], %(kept)s::boolean[])
    AS materialized (ending, known_at, kept)
    ON history.event_timestamp <= ending
    AND ingested_at <= known_at
    AND (NOT kept OR EXISTS (
        SELECT FROM {kept_rows} AS recorded
        WHERE recorded.{key} = history.{key}
          AND recorded.event_timestamp = history.event_timestamp
          AND recorded.recorded_at = history.recorded_at
    ))
WHERE history.{key} = ANY(%(entity_ids)s)
  -- What was withdrawn is taken out by the next materialization of whatever window.
  AND NOT EXISTS (
      SELECT FROM streamflow.withdrawals AS withdrawn
      WHERE withdrawn.ingestion_id = history.ingestion_id
        AND withdrawn.recorded_at <= %(last_known)s
  )
  AND NOT EXISTS (
      SELECT FROM streamflow.absences AS absent
      JOIN streamflow.ingestions AS complete ON complete.ingestion_id = absent.ingestion_id
      WHERE absent.use_case = %(use_case)s AND absent.history = %(history)s
        AND absent.entity = history.{key} AND absent.event_timestamp = history.event_timestamp
        AND absent.recorded_at > history.recorded_at AND complete.ingested_at <= %(last_known)s
        AND NOT EXISTS (
            SELECT FROM streamflow.withdrawals AS withdrawn
            WHERE withdrawn.ingestion_id = absent.ingestion_id
              AND withdrawn.recorded_at <= %(last_known)s
        )
  )
ORDER BY history.{key}, history.event_timestamp DESC, history.recorded_at DESC

-- name: create_api_key
INSERT INTO streamflow.api_keys (key_hash, name, scopes, created_at, created_by, expires_at)
VALUES (%(key_hash)s, %(name)s, %(scopes)s, %(created_at)s, %(created_by)s, %(expires_at)s)
ON CONFLICT (key_hash) DO NOTHING

-- name: api_keys
SELECT key_id, key_hash, name, scopes, created_at, created_by, expires_at, revoked_at, revoked_by
FROM streamflow.api_keys
LEFT JOIN streamflow.api_key_revocations USING (key_id)
ORDER BY key_id

-- name: revoke_api_key
INSERT INTO streamflow.api_key_revocations (key_id, revoked_at, revoked_by)
VALUES (%(key_id)s, %(revoked_at)s, %(revoked_by)s)
ON CONFLICT (key_id) DO NOTHING

-- name: record_refusal
INSERT INTO streamflow.audit
    (first_at, last_at, attempts, code, route, method, client, key_id)
VALUES (%(first_at)s, %(last_at)s, %(attempts)s, %(code)s, %(route)s, %(method)s, %(client)s,
        %(key_id)s)

-- name: begin_console_session
INSERT INTO streamflow.console_sessions (session_hash, key_id, started_at, expires_at)
VALUES (%(session_hash)s, %(key_id)s, %(started_at)s, %(expires_at)s)

-- name: end_console_session
INSERT INTO streamflow.console_session_ends (session_hash, ended_at)
SELECT session_hash, %(ended_at)s
FROM streamflow.console_sessions
WHERE session_hash = %(session_hash)s
ON CONFLICT (session_hash) DO NOTHING

-- name: console_session
SELECT session.key_id, session.expires_at, ended_at, key.name, key.scopes,
       key.expires_at AS key_expires_at, revoked_at
FROM streamflow.console_sessions AS session
JOIN streamflow.api_keys AS key USING (key_id)
LEFT JOIN streamflow.api_key_revocations USING (key_id)
LEFT JOIN streamflow.console_session_ends USING (session_hash)
WHERE session_hash = %(session_hash)s

-- name: recent_answers
-- How many predictions were made since a moment, and how many had a problem; up to a bound.
SELECT count(*) AS answers, count(problem) AS problems, max(predicted_at) AS newest
FROM (
    SELECT problem, predicted_at
    FROM streamflow.predictions
    WHERE predicted_at >= %(since)s
    LIMIT %(most)s
) AS recent

-- name: scores_by_rank
-- From after a rank; with a part of the id, a band of scores, a decile, the strongest reason or of these
-- ranks.
SELECT entity_id, probability, label, rank, decile
FROM streamflow.scores AS scores
WHERE scoring_id = %(scoring_id)s AND rank > %(after)s
  AND (%(part)s::text IS NULL OR strpos(lower(entity_id), lower(%(part)s)) > 0)
  AND (%(least)s::double precision IS NULL OR probability >= %(least)s)
  AND (%(below)s::double precision IS NULL OR probability < %(below)s)
  AND (%(decile)s::integer IS NULL OR decile = %(decile)s)
  AND (%(reason)s::text IS NULL OR EXISTS (
      SELECT FROM streamflow.reasons AS reasons
      WHERE reasons.scoring_id = scores.scoring_id AND reasons.entity_id = scores.entity_id
        AND position = 1 AND feature = %(reason)s
  ))
  AND (%(ranks)s::integer[] IS NULL OR rank = ANY(%(ranks)s::integer[]))
ORDER BY rank
LIMIT %(most)s

-- name: segment_ranks
-- The ranks of a scoring's entities whose newest row up to its month has the value. Ids have another
-- collation in `scores`: without the one of history its index would be no use.
SELECT coalesce(array_agg(rank::integer ORDER BY rank), '{{}}') AS ranks
FROM streamflow.scores AS scores
WHERE scoring_id = %(scoring_id)s
  AND %(value)s = (
      SELECT {column}::text
      FROM {history} AS history
      WHERE history.{key} = scores.entity_id COLLATE "default"
        AND as_of <= %(as_of)s AND recorded_at <= %(known_at)s
      ORDER BY event_timestamp DESC, recorded_at DESC
      LIMIT 1
  )

-- name: frequent_values
SELECT {column}::text AS value
FROM {history} AS history
WHERE as_of = %(as_of)s AND {column} IS NOT NULL
GROUP BY {column}
ORDER BY count(*) DESC
LIMIT %(most)s

-- name: first_reasons
SELECT entity_id, sentence, contribution
FROM streamflow.reasons
WHERE scoring_id = %(scoring_id)s AND entity_id = ANY(%(entities)s::text[]) AND position = 1

-- name: scores_over_months
-- Of the newest scoring of each month by a version that was in Production then.
SELECT scoring.scoring_id, as_of, version, probability, label, rank, decile, entities, scored_at
FROM (
    SELECT DISTINCT ON (as_of) scoring_id, as_of, version, entities, scored_at
    FROM streamflow.scorings
    WHERE model = %(model)s AND stage = 'Production'
    ORDER BY as_of, known_at DESC, scoring_id DESC
) AS scoring
JOIN streamflow.scores ON scores.scoring_id = scoring.scoring_id AND entity_id = %(entity_id)s
ORDER BY as_of

-- name: newest_known_row
-- An entity's newest row of a history as one document, without its key and its times.
SELECT as_of, event_timestamp, recorded_at, ingestion_id,
       to_jsonb(history) - ARRAY[
           %(key)s, 'as_of', 'event_timestamp', 'recorded_at', 'ingestion_id'
       ] AS content
FROM {history} AS history
WHERE {key} = %(entity_id)s
ORDER BY event_timestamp DESC, recorded_at DESC
LIMIT 1

-- name: corrected_rows
-- Rows of a day with the one that was known of the same entity before, in the order of entities. The
-- day's ids are read first: asked for their order at once, the planner reads the index of all days.
WITH several AS MATERIALIZED (
    SELECT {key}
    FROM {history} AS history
    WHERE event_timestamp = ((%(as_of)s::date + 1)::timestamp - interval '1 microsecond')
              AT TIME ZONE 'UTC'
      AND {key} > %(after)s
)
SELECT entity_id, recorded_at, recorded_before, ingestion_id, now, before
FROM (
    SELECT history.{key} AS entity_id, recorded_at, ingestion_id,
           to_jsonb(history) - ARRAY[
               %(key)s, 'as_of', 'event_timestamp', 'recorded_at', 'ingestion_id'
           ] AS now,
           lag(to_jsonb(history) - ARRAY[
               %(key)s, 'as_of', 'event_timestamp', 'recorded_at', 'ingestion_id'
           ]) OVER known AS before,
           lag(recorded_at) OVER known AS recorded_before
    FROM {history} AS history
    WHERE event_timestamp = ((%(as_of)s::date + 1)::timestamp - interval '1 microsecond')
              AT TIME ZONE 'UTC'
      AND history.{key} IN (
        SELECT {key}
        FROM several
        GROUP BY {key}
        HAVING count(*) > 1
        ORDER BY {key}
        LIMIT %(most)s
    )
    WINDOW known AS (PARTITION BY history.{key} ORDER BY recorded_at)
) AS rows
WHERE before IS NOT NULL
ORDER BY entity_id, recorded_at DESC

-- name: known_versions
-- All rows of an entity, withdrawn ones among them.
SELECT as_of, recorded_at, ingestion_id,
       EXISTS (
           SELECT FROM streamflow.withdrawals
           WHERE withdrawals.ingestion_id = history.ingestion_id
       ) AS withdrawn,
       to_jsonb(history) - ARRAY[
           %(key)s, 'as_of', 'event_timestamp', 'recorded_at', 'ingestion_id'
       ] AS content
FROM {history} AS history
WHERE {key} = %(entity_id)s
ORDER BY event_timestamp DESC, recorded_at DESC

-- name: deliveries
-- Attempts to deliver events of the model's history, newest first.
SELECT number, attempted_at, delivered, status, problem
FROM streamflow.event_deliveries
JOIN streamflow.model_events USING (event_id)
WHERE model = %(model)s
ORDER BY attempted_at DESC
LIMIT %(most)s

-- name: registered_versions
-- Of a registry that MLflow has in the same database, with these figures of each run.
SELECT version.version, version.run_id, version.current_stage AS stage,
       to_timestamp(version.creation_time / 1000.0) AS registered_at,
       coalesce(figures.metrics, '{{}}') AS metrics
FROM mlflow.model_versions AS version
LEFT JOIN (
    SELECT run_uuid, jsonb_object_agg(key, value) AS metrics
    FROM mlflow.latest_metrics
    WHERE key = ANY(%(figures)s::text[]) AND NOT is_nan
    GROUP BY run_uuid
) AS figures ON figures.run_uuid = version.run_id
WHERE version.name = %(model)s

-- name: monitored_alarms
-- The newest monitoring of each month with the number of its alarms, newest month first.
SELECT as_of, version, entities, made_at, retraining ->> 'verdict' AS verdict,
       count(severity) AS alarms, count(severity) FILTER (WHERE severity = 'critical') AS critical
FROM (
    SELECT DISTINCT ON (as_of) monitoring_id, as_of, version, entities, made_at, retraining
    FROM streamflow.monitorings
    WHERE model = %(model)s
    ORDER BY as_of, monitoring_id DESC
) AS newest
LEFT JOIN streamflow.alarms USING (monitoring_id)
GROUP BY monitoring_id, as_of, version, entities, made_at, retraining
ORDER BY as_of DESC

-- name: answers_of
-- An entity's predictions in the log, newest first.
SELECT DISTINCT ON (predicted_at, request_id)
    predicted_at, request_id, prediction, probability, problem, version
FROM streamflow.predictions
JOIN streamflow.served_models USING (served_model)
WHERE model = %(model)s AND entity_id = %(entity_id)s
ORDER BY predicted_at DESC, request_id
LIMIT %(most)s

-- name: try_lock_month
SELECT pg_try_advisory_xact_lock(hashtext('streamflow month'), hashtext(%(model)s)) AS locked

-- name: month_steps
-- The newest row of each step of the month.
SELECT DISTINCT ON (step) step, outcome, sentence, facts, known_at, done_at, done_by
FROM streamflow.month_runs
WHERE model = %(model)s AND as_of = %(as_of)s
ORDER BY step, month_run_id DESC

-- name: record_month_step
INSERT INTO streamflow.month_runs
    (model, as_of, known_at, step, outcome, sentence, facts, done_at, done_by)
VALUES (%(model)s, %(as_of)s, %(known_at)s, %(step)s, %(outcome)s, %(sentence)s, %(facts)s,
        %(done_at)s, %(done_by)s)

-- name: count_month_labels
-- Labels that count by month.
SELECT as_of, count(DISTINCT {key}) AS labels
FROM {label_history} AS history
WHERE recorded_at <= %(known_at)s AND {label} IS NOT NULL
GROUP BY as_of
ORDER BY as_of

-- name: summarize_scores
SELECT count(*) AS scores, avg(probability) AS mean, coalesce(sum(label), 0) AS label_1
FROM streamflow.scores WHERE scoring_id = %(scoring_id)s

-- name: count_score_bins
-- Twenty bins of equal width; a score of 1 is in the last.
SELECT least(width_bucket(probability, 0, 1, 20), 20) AS bin, count(*) AS scores
FROM streamflow.scores WHERE scoring_id = %(scoring_id)s
GROUP BY 1 ORDER BY 1

-- name: average_score_deciles
SELECT decile, avg(probability) AS mean
FROM streamflow.scores WHERE scoring_id = %(scoring_id)s
GROUP BY decile ORDER BY decile

-- name: count_scores_from
SELECT count(*) AS scores
FROM streamflow.scores WHERE scoring_id = %(scoring_id)s AND probability >= %(least)s

-- name: list_candidates
-- A scoring's entities but for those whom the newest month lacks, in chunks in the order of ranks.
SELECT array_agg(entity_id ORDER BY rank) AS entities,
       array_agg(probability ORDER BY rank) AS probabilities,
       array_agg(rank ORDER BY rank) AS ranks,
       array_agg(decile ORDER BY rank) AS deciles,
       array_agg(value::double precision ORDER BY rank) AS values
FROM (
    SELECT scores.entity_id, probability, rank, decile, worth.value
    FROM streamflow.scores AS scores
    LEFT JOIN {worth} AS worth ON worth.entity = scores.entity_id
    WHERE scoring_id = %(scoring_id)s AND EXISTS (
        SELECT FROM {newest_month} AS present
        WHERE present.{key} = scores.entity_id AND present.as_of = %(month)s
    )
) AS candidates
GROUP BY (rank - 1) / 100000
ORDER BY (rank - 1) / 100000

-- name: list_parts
-- A scoring's entities in parts along the list, with the labels of its month.
SELECT count(*) AS entities,
       count(label) AS labelled,
       count(*) FILTER (WHERE label) AS true,
       coalesce(sum(worth) FILTER (WHERE label), 0) AS worth,
       coalesce(sum(worth * worth) FILTER (WHERE label), 0) AS squares,
       sum(probability) AS probability,
       sum(probability * worth) AS expected
FROM (
    SELECT probability, worth, labels.label,
           ntile(%(parts)s) OVER (ORDER BY probability * worth DESC, rank) AS part
    FROM (
        SELECT scores.entity_id, probability, rank,
               coalesce(
                   %(each)s::double precision,
                   worth.value::double precision * %(months)s::double precision
               ) AS worth
        FROM streamflow.scores AS scores
        LEFT JOIN {worth} AS worth ON worth.entity = scores.entity_id
        WHERE scoring_id = %(scoring_id)s
    ) AS scored
    LEFT JOIN (
        SELECT DISTINCT ON ({key}) {key} AS entity_id, {label} AS label
        FROM {label_history} AS history
        WHERE as_of = %(as_of)s
        ORDER BY {key}, recorded_at DESC
    ) AS labels USING (entity_id)
    WHERE worth IS NOT NULL
) AS listed
GROUP BY part
ORDER BY part

-- name: scorings_by_month
-- The newest scoring of each month by a version that was in Production then, newest month first; with
-- the months that the version learned from, where the month was monitored.
SELECT DISTINCT ON (scoring.as_of)
    scoring_id, scoring.model, scoring.version, scoring.model_hash, scoring.run_id, scoring.stage,
    scoring.as_of, scoring.known_at, scored_at, scored_by, scoring.entities, departed, refused,
    (
        SELECT training_months
        FROM streamflow.monitorings AS monitoring
        WHERE monitoring.model = scoring.model AND monitoring.run_id = scoring.run_id
        LIMIT 1
    ) AS training_months
FROM streamflow.scorings AS scoring
WHERE scoring.model = %(model)s AND stage = 'Production'
ORDER BY scoring.as_of DESC, scoring.known_at DESC, scoring_id DESC
LIMIT %(most)s

-- name: history_state
-- Changes with each ingestion, withdrawal and person that is forgotten.
SELECT (SELECT max(ingestion_id) FROM streamflow.ingestions WHERE use_case = %(use_case)s) AS newest,
       (SELECT count(*) FROM streamflow.withdrawals) AS withdrawn,
       (SELECT count(*) FROM streamflow.forgotten WHERE use_case = %(use_case)s) AS forgotten

-- name: no_values
(SELECT NULL::text AS entity, NULL::double precision AS value WHERE false)

-- name: listed_reasons
SELECT entity_id, array_agg(sentence ORDER BY position) AS sentences
FROM streamflow.reasons
WHERE scoring_id = %(scoring_id)s AND entity_id = ANY(%(entities)s::text[])
  AND position <= %(most)s
GROUP BY entity_id

-- name: no_labels
(SELECT NULL::text AS {key}, NULL::boolean AS {label}, NULL::date AS as_of,
        NULL::timestamptz AS recorded_at WHERE false)

-- name: lock_lists
SELECT pg_advisory_xact_lock_shared(hashtext('streamflow step')),
       pg_advisory_xact_lock(hashtext('streamflow lists'), hashtext(%(model)s))

-- name: lists
SELECT list_id, model, version, model_hash, run_id, scoring_id, campaign, as_of, known_at, hold_out,
       rates, limits, entities, held_out, without_value, departed, content_hash, exported_at,
       exported_by
FROM streamflow.lists
WHERE model = %(model)s
ORDER BY list_id

-- name: record_list
INSERT INTO streamflow.lists
    (model, version, model_hash, run_id, scoring_id, campaign, as_of, known_at, hold_out, rates,
     limits, entities, held_out, without_value, departed, content_hash, exported_at, exported_by)
VALUES (%(model)s, %(version)s, %(model_hash)s, %(run_id)s, %(scoring_id)s, %(campaign)s, %(as_of)s,
        %(known_at)s, %(hold_out)s, %(rates)s, %(limits)s, %(entities)s, %(held_out)s,
        %(without_value)s, %(departed)s, %(content_hash)s, %(exported_at)s, %(exported_by)s)
RETURNING list_id

-- name: record_listed
INSERT INTO streamflow.listed
    (list_id, entity_id, position, held_out, probability, worth, expected_value)
SELECT %(list_id)s, entity_id, position, held_out, probability, worth, expected_value
FROM unnest(%(entities)s::text[], %(held_out)s::boolean[], %(probabilities)s::double precision[],
            %(worths)s::double precision[], %(expected)s::double precision[]) WITH ORDINALITY
    AS listed (entity_id, held_out, probability, worth, expected_value, position)

-- name: listed_among
-- Of these ids, who is on the list, whether they were held out, and the contact that is recorded.
SELECT entity_id, held_out, contacts.recorded_at IS NOT NULL AS recorded, contacted_on
FROM streamflow.listed
LEFT JOIN streamflow.contacts USING (list_id, entity_id)
WHERE list_id = %(list_id)s AND entity_id = ANY(%(entities)s::text[])

-- name: record_contacts
INSERT INTO streamflow.contacts
    (list_id, entity_id, contacted_on, recorded_at, recorded_by, file_hash)
SELECT %(list_id)s, entity_id, contacted_on, %(recorded_at)s, %(recorded_by)s, %(file_hash)s
FROM unnest(%(entities)s::text[], %(days)s::date[]) AS given (entity_id, contacted_on)
ON CONFLICT DO NOTHING

-- name: campaign_sides
-- The list's entities by whether they were held out, with their labels of the list's month.
SELECT held_out,
       count(*) AS entities,
       count(contacts.recorded_at) AS contacted,
       count(label) AS labelled,
       count(*) FILTER (WHERE label) AS true,
       count(contacts.recorded_at) FILTER (WHERE label IS NOT NULL) AS contacted_labelled,
       count(label) FILTER (WHERE labels.recorded_at < %(exported_at)s) AS early
FROM streamflow.listed
LEFT JOIN streamflow.contacts USING (list_id, entity_id)
LEFT JOIN (
    SELECT DISTINCT ON ({key}) {key} AS entity_id, {label} AS label, recorded_at
    FROM {label_history} AS history
    WHERE as_of = %(as_of)s AND recorded_at <= %(known_at)s
    ORDER BY {key}, recorded_at DESC
) AS labels USING (entity_id)
WHERE list_id = %(list_id)s
GROUP BY held_out
