-- Queries that DuckDB reads another way than PostgreSQL: each in place of the one by the same name
-- in streamflow/postgres/sql/queries.sql, with the same rows.

-- name: rows_of_ingestions
-- A subquery for each row would be joined with all rows of its entity at once: here one row of each
-- is held.
SELECT event_timestamp, ingestion_id, count(*) AS rows
FROM (
    SELECT entity_rows.{key}, entity_rows.event_timestamp,
           arg_max(history.ingestion_id, ROW(history.event_timestamp, history.recorded_at))
               AS ingestion_id
    FROM ({query}) AS entity_rows
    JOIN {history} AS history
      ON history.{key} = entity_rows.{key}
     AND history.event_timestamp <= entity_rows.event_timestamp
    WHERE (%(ttl)s::interval IS NULL
           OR history.event_timestamp >= entity_rows.event_timestamp - %(ttl)s::interval)
      AND history.recorded_at <= %(known_at)s
    GROUP BY entity_rows.{key}, entity_rows.event_timestamp
) AS joined
WHERE ingestion_id = ANY(%(ingestions)s::bigint[])
GROUP BY event_timestamp, ingestion_id
ORDER BY event_timestamp, ingestion_id

-- name: counted_number
-- DuckDB has no width_bucket, and may compute a branch of CASE for rows that don't take it.
CASE WHEN {column}::double IS NOT NULL AND NOT isnan({column}::double)
    THEN len(list_filter(%(edges)s, lambda edge: edge <= {column}::double)) END AS {bin},
CASE WHEN {column}::double > 0 AND {column}::double < 'Infinity'::double
    THEN try_cast(floor(200 * log({column}::double)) AS integer) END AS {magnitude}

-- name: feature_quantiles
-- By the ranks of percentile_disc: quantile_disc takes others, as 0.07 * 300 is more than 21.
SELECT feature,
       list_transform(%(levels)s,
           lambda level: ascending[greatest(1, ceil(level * len(ascending)))::bigint])
           AS quantiles
FROM (
    SELECT feature, list_sort(list(CASE WHEN value = 0 THEN 0 ELSE value END)) AS ascending
    FROM {rows} AS month_rows
    CROSS JOIN LATERAL (VALUES {values}) AS one (feature, value)
    WHERE value IS NOT NULL
      AND (%(every)s = 1 OR ('0x' || left(md5({key}), 8))::bigint %% %(every)s = 0)
    GROUP BY feature
) AS sampled

-- name: judged_scores
-- Scores are in PostgreSQL: those of the scoring are copied.
SELECT judged.probability, judged.prediction, judged.judged_label::integer {segments}
FROM (
    SELECT entity_id, probability, scores.label AS prediction, labels.{label} AS judged_label,
           %(as_of)s::date AS as_of
    FROM joined_scores AS scores
    JOIN (
        SELECT DISTINCT ON ({key}) {key}, {label}
        FROM {label_history} AS history
        WHERE as_of = %(as_of)s AND recorded_at <= %(known_at)s
        ORDER BY {key}, recorded_at DESC
    ) AS labels ON labels.{key} = scores.entity_id
    WHERE labels.{label} IS NOT NULL
) AS judged
{joins}
ORDER BY judged.entity_id

-- name: validation_rows
SELECT judged.probability, judged.prediction, judged.judged_label {segments}
FROM (
    SELECT entities AS entity_id, as_ofs AS as_of, probabilities AS probability,
           predictions AS prediction, labels AS judged_label
    FROM given
) AS judged
{joins}
ORDER BY judged.as_of, judged.entity_id

-- name: create_staging
-- What an ingestion stages is dropped when its transaction ends.
CREATE OR REPLACE TABLE {staging} (line bigint NOT NULL, {key} text {definitions})

-- name: create_latest
CREATE OR REPLACE TABLE {latest} AS
SELECT DISTINCT ON ({key}) recorded_at, ingestion_id, {columns}
FROM {known_history} AS history
WHERE as_of = %(as_of)s
ORDER BY {key}, recorded_at DESC

-- name: create_gone
CREATE OR REPLACE TABLE {gone} AS
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
CREATE OR REPLACE TABLE {gone} ({key} text, recorded_at timestamptz)

-- name: drop_forgotten
DELETE FROM {staging}
WHERE sha256(unhex(%(outer)s) || unhex(sha256(unhex(%(inner)s) || encode({key}))))
    IN (SELECT unnest(%(hashes)s))

-- name: entities_with_hash
SELECT DISTINCT {column} AS entity
FROM {table}
WHERE sha256(unhex(%(outer)s) || unhex(sha256(unhex(%(inner)s) || encode({column}))))
    IN (SELECT unnest(%(hashes)s))

-- name: add_all
SELECT %(as_of)s AS as_of, %(event_timestamp)s AS event_timestamp,
       %(recorded_at)s AS recorded_at, %(ingestion_id)s::bigint AS ingestion_id, {columns}
FROM {staging}
ORDER BY {key}

-- name: add_changed
SELECT %(as_of)s AS as_of, %(event_timestamp)s AS event_timestamp,
       %(recorded_at)s AS recorded_at, %(ingestion_id)s::bigint AS ingestion_id, {staging_columns}
FROM {staging} AS staging
LEFT JOIN {latest} AS latest USING ({key})
WHERE latest.{key} IS NULL
   OR ROW({staging_columns}) IS DISTINCT FROM ROW({latest_columns})
   OR list_contains(%(narrower)s::bigint[], latest.ingestion_id)
ORDER BY staging.{key}

-- name: recorded_before
SELECT count(*) AS conflicts, max(greatest(latest.recorded_at, gone.recorded_at)) AS recorded_at
FROM {staging} AS staging
LEFT JOIN {latest} AS latest USING ({key})
LEFT JOIN {gone} AS gone USING ({key})
WHERE greatest(latest.recorded_at, gone.recorded_at) >= %(recorded_at)s
  AND (latest.{key} IS NULL
       OR ROW({staging_columns}) IS DISTINCT FROM ROW({latest_columns})
       OR list_contains(%(narrower)s::bigint[], latest.ingestion_id))

-- name: add_absences
SELECT %(use_case)s, %(history)s, latest.{key}, %(event_timestamp)s, %(recorded_at)s,
       %(ingestion_id)s
FROM {latest} AS latest
WHERE NOT EXISTS (SELECT 1 FROM {staging} AS staging WHERE staging.{key} = latest.{key})

-- name: similar_entities
WITH unknown AS (
    SELECT staging.line, staging.{key} AS id
    FROM {staging} AS staging
    LEFT JOIN {entities} AS entities USING ({key})
    WHERE entities.{key} IS NULL
), folded AS (
    SELECT line, id, trim(regexp_replace(regexp_replace(
        nfc_normalize(id), %(spaces)s, ' ', 'g'), %(unseen)s, '', 'g')) AS folded
    FROM (SELECT line, id FROM unknown UNION ALL SELECT NULL, {key} FROM {entities}) AS ids
)
SELECT one.line, min(other.id) AS other
FROM folded AS one
JOIN folded AS other USING (folded)
WHERE one.line IS NOT NULL AND other.line IS NULL
GROUP BY one.line

-- name: refused_ids
SELECT line, left({key}, %(longest)s + 1) AS value
FROM {staging}
WHERE length({key}) > %(longest)s OR NOT regexp_matches({key}, %(pattern)s)
ORDER BY line

-- name: similar_ids
WITH ids AS (
    SELECT line, {key} AS id FROM {staging} WHERE NOT regexp_matches({key}, %(plain)s)
    UNION ALL
    SELECT DISTINCT NULL::bigint, {key} FROM {known_history} AS known
    WHERE NOT regexp_matches({key}, %(plain)s)
), folded AS (
    SELECT line, id, trim(regexp_replace(regexp_replace(
        nfc_normalize(id), %(spaces)s, ' ', 'g'), %(unseen)s, '', 'g')) AS folded
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

-- name: record_departed
SELECT %(unfinished_id)s, {key}, 'departed'
FROM (
    SELECT {key} FROM {history} AS history
    WHERE as_of < %(as_of)s AND recorded_at <= %(known_at)s
    EXCEPT
    SELECT {key} FROM {history} AS history
    WHERE as_of = %(as_of)s AND recorded_at <= %(known_at)s
) AS gone

-- name: segment_values_before
-- Of all entities: the names of those that are needed would be a long text, and few columns are read.
SELECT DISTINCT ON ({key}) {key} AS entity, {column} AS value
FROM {history} AS history
WHERE as_of < %(as_of)s AND recorded_at <= %(known_at)s
ORDER BY {key}, as_of DESC, recorded_at DESC

-- name: worth_of_scored
-- Of all entities: scores are in PostgreSQL.
SELECT DISTINCT ON ({key}) {key} AS entity, {column} AS value
FROM {history} AS history
WHERE as_of <= %(as_of)s AND recorded_at <= %(known_at)s
ORDER BY {key}, as_of DESC, recorded_at DESC

-- name: brought
-- Rows of history that a query of PostgreSQL is joined with.
SELECT * FROM {rows} AS brought

-- name: brought_of_month
SELECT * FROM {rows} AS brought WHERE as_of = %(as_of)s

-- name: brought_of_corrected
-- All rows of a month of the entities that have several of it.
SELECT * FROM {rows} AS brought
WHERE as_of = %(as_of)s AND {key} IN (
    SELECT {key} FROM {rows} AS several
    WHERE as_of = %(as_of)s
    GROUP BY {key}
    HAVING count(*) > 1
)

-- name: brought_of_entities
SELECT * FROM {rows} AS brought WHERE {key} = ANY(%(entities)s::text[])

-- name: brought_with_value
-- The newest row up to a month of each entity, where it has the value.
SELECT {key}, as_of, event_timestamp, recorded_at, value AS {column}
FROM (
    SELECT DISTINCT ON ({key})
        {key}, as_of, event_timestamp, recorded_at, {column}::text AS value
    FROM {rows} AS history
    WHERE as_of <= %(as_of)s AND recorded_at <= %(known_at)s
    ORDER BY {key}, event_timestamp DESC, recorded_at DESC
) AS newest
WHERE value = %(value)s

-- name: entities_with_label
-- Labels are looked for among several only of entities that have them: a month whose labels were
-- recorded at one moment has one of each.
SELECT entities.{key}, entities.event_timestamp, labels.{label}
FROM (
    SELECT DISTINCT {key}, event_timestamp
    FROM {entity_history} AS history
    WHERE as_of = %(as_of)s AND recorded_at <= %(known_at)s
) AS entities
LEFT JOIN (
    WITH known AS NOT MATERIALIZED (
        SELECT {key}, {label}, recorded_at
        FROM {label_history} AS history
        WHERE as_of = %(as_of)s AND recorded_at <= %(known_at)s
    ), repeated AS MATERIALIZED (
        SELECT {key}
        FROM known
        WHERE (SELECT min(recorded_at) < max(recorded_at) FROM known)
        GROUP BY {key}
        HAVING count(*) > 1
    )
    SELECT {key}, {label}
    FROM known
    WHERE NOT EXISTS (SELECT 1 FROM repeated WHERE repeated.{key} = known.{key})
    UNION ALL
    (
        SELECT DISTINCT ON ({key}) {key}, {label}
        FROM known
        WHERE EXISTS (SELECT 1 FROM repeated WHERE repeated.{key} = known.{key})
        ORDER BY {key}, recorded_at DESC
    )
) AS labels USING ({key})
