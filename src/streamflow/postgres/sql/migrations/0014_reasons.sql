-- Why entities have their scores. Append-only. What is explained at a time is a range of ranks of a
-- scoring, and a row of `explanations` is there only with all of its reasons.
CREATE TABLE streamflow.explanations (
    scoring_id   bigint           NOT NULL REFERENCES streamflow.scorings,
    first_rank   bigint           NOT NULL,
    last_rank    bigint           NOT NULL CHECK (last_rank >= first_rank),
    explained_at timestamptz      NOT NULL,
    explained_by text             NOT NULL,
    scale        text             NOT NULL CHECK (scale IN ('probability', 'log-odds')),
    base         double precision NOT NULL,  -- the background's mean score, on the scale
    background   jsonb            NOT NULL,  -- which rows: rows, rule, sha256
    entities     bigint           NOT NULL,  -- with reasons
    refused      bigint           NOT NULL,  -- whose contributions don't add up to their score
    written_at   timestamptz DEFAULT clock_timestamp(),
    written_by   text        DEFAULT session_user,
    PRIMARY KEY (scoring_id, first_rank)
);

CREATE TABLE streamflow.reasons (
    scoring_id   bigint           NOT NULL REFERENCES streamflow.scorings,
    entity_id    text             COLLATE "C" NOT NULL,
    position     smallint         NOT NULL CHECK (position BETWEEN 1 AND 3),  -- 1 is the strongest
    feature      text             NOT NULL,
    value        jsonb,                      -- the entity's; null where the feature is null
    contribution double precision NOT NULL,  -- to the score, on the scale; above 0 raises it
    background   jsonb,                      -- what is usual: median, or the most frequent value
    sentence     text             NOT NULL,
    PRIMARY KEY (scoring_id, entity_id, position)
);

-- Whose explanation was refused, and how far its sum is from the score.
CREATE TABLE streamflow.unexplained (
    scoring_id bigint           NOT NULL REFERENCES streamflow.scorings,
    entity_id  text             COLLATE "C" NOT NULL,
    error      double precision NOT NULL,
    PRIMARY KEY (scoring_id, entity_id)
);
