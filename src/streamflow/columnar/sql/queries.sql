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
-- DuckDB has no width_bucket.
CASE WHEN {column}::double IS NOT NULL AND NOT isnan({column}::double)
    THEN len(list_filter(%(edges)s, lambda edge: edge <= {column}::double)) END AS {bin},
CASE WHEN {column}::double > 0 AND {column}::double < 'Infinity'::double
    THEN floor(200 * log({column}::double))::integer END AS {magnitude}

-- name: feature_quantiles
SELECT feature,
       quantile_disc(CASE WHEN value = 0 THEN 0 ELSE value END, %(levels)s) AS quantiles
FROM {rows} AS month_rows
CROSS JOIN LATERAL (VALUES {values}) AS one (feature, value)
WHERE value IS NOT NULL
  AND (%(every)s = 1 OR ('0x' || left(md5({key}), 8))::bigint %% %(every)s = 0)
GROUP BY feature

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
