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
