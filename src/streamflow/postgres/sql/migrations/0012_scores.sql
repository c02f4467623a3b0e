-- Everyone's score of a month. A row of `scorings` is there only when all of its scores are.
-- Append-only: what is here is written by the functions below alone, and never changed.
CREATE TABLE streamflow.scorings (
    scoring_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model      text        NOT NULL,
    version    integer     NOT NULL,
    model_hash text        NOT NULL,
    run_id     text        NOT NULL,
    stage      text        NOT NULL,  -- the version's, when it scored
    as_of      date        NOT NULL,
    known_at   timestamptz NOT NULL,
    scored_at  timestamptz NOT NULL,
    scored_by  text        NOT NULL,
    entities   bigint      NOT NULL,  -- with a score
    departed   bigint      NOT NULL,  -- known before, and not in this month any more
    refused    jsonb       NOT NULL,  -- others without a score, by the code of the problem
    written_at timestamptz DEFAULT clock_timestamp(),
    written_by text        DEFAULT session_user,
    UNIQUE (model, version, model_hash, as_of, known_at)
);
CREATE INDEX scorings_newest ON streamflow.scorings (model, as_of, known_at, scoring_id);

-- A partition per scoring: it is loaded without an index, and dropped as a whole.
CREATE TABLE streamflow.scores (
    scoring_id  bigint           NOT NULL,
    entity_id   text             COLLATE "C" NOT NULL,
    probability double precision NOT NULL,
    label       smallint         NOT NULL,
    rank        bigint           NOT NULL,  -- 1 is the highest probability; ties by entity_id
    decile      smallint         NOT NULL,  -- 1 has the highest ranks
    PRIMARY KEY (scoring_id, entity_id)
) PARTITION BY LIST (scoring_id);

-- Who has no score, with the code of the problem.
CREATE TABLE streamflow.unscored (
    scoring_id bigint NOT NULL,
    entity_id  text   COLLATE "C" NOT NULL,
    problem    text   NOT NULL,
    PRIMARY KEY (scoring_id, entity_id)
) PARTITION BY LIST (scoring_id);

-- What a scoring has done already, so that it goes on after a kill. Its partitions are unlogged: if the
-- server crashes they are empty, and the scoring begins again.
CREATE TABLE streamflow.unfinished_scorings (
    unfinished_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model         text        NOT NULL,
    version       integer     NOT NULL,
    model_hash    text        NOT NULL,
    as_of         date        NOT NULL,
    known_at      timestamptz NOT NULL,
    UNIQUE (model, version, model_hash, as_of, known_at)
);
CREATE TABLE streamflow.unfinished_scores (
    unfinished_id bigint NOT NULL,
    entity_id     text   COLLATE "C" NOT NULL,
    probability   double precision,
    label         smallint,
    problem       text
) PARTITION BY LIST (unfinished_id);

-- The number of the unfinished scoring with this key, which is begun if there is none. Others of the
-- same model are given up.
CREATE FUNCTION streamflow.begin_scoring(
    scored_model text, scored_version integer, scored_hash text, scored_as_of date,
    scored_known_at timestamptz
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number bigint;
    other  bigint;
BEGIN
    FOR other IN
        DELETE FROM streamflow.unfinished_scorings
        WHERE model = scored_model
          AND (version, model_hash, as_of, known_at)
              IS DISTINCT FROM (scored_version, scored_hash, scored_as_of, scored_known_at)
        RETURNING unfinished_id
    LOOP
        EXECUTE format('DROP TABLE streamflow.%I', 'unfinished_scores_' || other);
    END LOOP;
    SELECT unfinished_id INTO number
    FROM streamflow.unfinished_scorings
    WHERE (model, version, model_hash, as_of, known_at)
        = (scored_model, scored_version, scored_hash, scored_as_of, scored_known_at);
    IF number IS NULL THEN
        INSERT INTO streamflow.unfinished_scorings (model, version, model_hash, as_of, known_at)
        VALUES (scored_model, scored_version, scored_hash, scored_as_of, scored_known_at)
        RETURNING unfinished_id INTO number;
        EXECUTE format(
            'CREATE UNLOGGED TABLE streamflow.%I PARTITION OF streamflow.unfinished_scores
             FOR VALUES IN (%s)',
            'unfinished_scores_' || number, number
        );
    END IF;
    RETURN number;
END
$$;

-- Make the unfinished scoring a finished one, all at once, and return its number.
CREATE FUNCTION streamflow.finish_scoring(
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
    EXECUTE format(
        'ALTER TABLE streamflow.unscored ATTACH PARTITION streamflow.%I FOR VALUES IN (%s)',
        name, scoring
    );
    EXECUTE format('DROP TABLE streamflow.%I', part);
    DELETE FROM streamflow.unfinished_scorings WHERE unfinished_id = number;
    RETURN scoring;
END
$$;

REVOKE ALL ON FUNCTION
    streamflow.begin_scoring(text, integer, text, date, timestamptz),
    streamflow.finish_scoring(bigint, text, text, timestamptz, text)
    FROM PUBLIC;
