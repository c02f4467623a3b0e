-- As before, and the new partitions have statistics: without them the planner believes that a scoring
-- has a two hundredth of its rows, and reads others again for each of them.
CREATE OR REPLACE FUNCTION streamflow.finish_scoring(
    number bigint, scored_run text, scored_stage text, at timestamptz, who text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '128MB'
SET maintenance_work_mem = '128MB' AS $$
DECLARE
    scoring   bigint;
    scored    bigint;
    left_them bigint;
    problems  jsonb;
    name      text;
    part      text := 'unfinished_scores_' || number;
BEGIN
    EXECUTE format(
        'SELECT coalesce(sum(entities) FILTER (WHERE problem IS NULL), 0),
                coalesce(sum(entities) FILTER (WHERE problem = ''departed''), 0),
                coalesce(jsonb_object_agg(problem, entities)
                         FILTER (WHERE problem <> ''departed''), ''{}'')
         FROM (SELECT problem, count(*) AS entities FROM streamflow.%I GROUP BY problem) AS counted',
        part
    ) INTO scored, left_them, problems;
    INSERT INTO streamflow.scorings (model, version, model_hash, run_id, stage, as_of, known_at,
                                     scored_at, scored_by, entities, departed, refused)
    SELECT model, version, model_hash, scored_run, scored_stage, as_of, known_at, at, who, scored,
           left_them, problems
    FROM streamflow.unfinished_scorings WHERE unfinished_id = number
    RETURNING scoring_id INTO STRICT scoring;

    -- Made aside and attached: a partition would be indexed row by row.
    name := 'scores_' || scoring;
    EXECUTE format('CREATE TABLE streamflow.%I (LIKE streamflow.scores)', name);
    EXECUTE format(
        'INSERT INTO streamflow.%I (scoring_id, entity_id, probability, label, rank, decile)
         SELECT %s, entity_id, probability, label, rank, (rank - 1) * 10 / %s + 1
         FROM (
             SELECT *, row_number() OVER (ORDER BY probability DESC, entity_id) AS rank
             FROM streamflow.%I WHERE problem IS NULL
         ) AS ranked',
        name, scoring, greatest(scored, 1), part
    );
    EXECUTE format('ALTER TABLE streamflow.%I ADD PRIMARY KEY (scoring_id, entity_id)', name);
    EXECUTE format('ANALYZE streamflow.%I', name);
    EXECUTE format(
        'ALTER TABLE streamflow.scores ATTACH PARTITION streamflow.%I FOR VALUES IN (%s)',
        name, scoring
    );
    name := 'unscored_' || scoring;
    EXECUTE format('CREATE TABLE streamflow.%I (LIKE streamflow.unscored)', name);
    EXECUTE format(
        'INSERT INTO streamflow.%I (scoring_id, entity_id, problem)
         SELECT %s, entity_id, problem FROM streamflow.%I WHERE problem IS NOT NULL',
        name, scoring, part
    );
    EXECUTE format('ALTER TABLE streamflow.%I ADD PRIMARY KEY (scoring_id, entity_id)', name);
    EXECUTE format('ANALYZE streamflow.%I', name);
    EXECUTE format(
        'ALTER TABLE streamflow.unscored ATTACH PARTITION streamflow.%I FOR VALUES IN (%s)',
        name, scoring
    );
    EXECUTE format('DROP TABLE streamflow.%I', part);
    DELETE FROM streamflow.unfinished_scorings WHERE unfinished_id = number;
    RETURN scoring;
END
$$;
