-- Lists of whom to contact, and who was contacted. Append-only. A list is there with all its entities
-- or not at all; the same list again is the same row.
CREATE TABLE streamflow.lists (
    list_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model         text        NOT NULL,
    version       integer     NOT NULL,
    model_hash    text        NOT NULL,
    run_id        text        NOT NULL,
    scoring_id    bigint      NOT NULL,
    campaign      text        NOT NULL,  -- lists of one campaign have one hold-out
    as_of         date        NOT NULL,
    known_at      timestamptz NOT NULL,
    hold_out      double precision NOT NULL,  -- the share that is left alone
    rates         jsonb       NOT NULL,  -- what expected values were computed with; null without
    limits        jsonb       NOT NULL,  -- where the list ends
    entities      bigint      NOT NULL,
    held_out      bigint      NOT NULL,
    without_value bigint      NOT NULL,
    departed      bigint      NOT NULL,  -- scored, and not in the newest month any more
    content_hash  text        NOT NULL,
    exported_at   timestamptz NOT NULL,
    exported_by   text        NOT NULL,
    written_at    timestamptz DEFAULT clock_timestamp(),
    written_by    text        DEFAULT session_user,
    UNIQUE (model, content_hash)
);

CREATE TABLE streamflow.listed (
    list_id        bigint           NOT NULL REFERENCES streamflow.lists,
    entity_id      text             COLLATE "C" NOT NULL,
    position       bigint           NOT NULL,
    held_out       boolean          NOT NULL,
    probability    double precision NOT NULL,
    worth          double precision,
    expected_value double precision,
    PRIMARY KEY (list_id, entity_id)
);

CREATE TABLE streamflow.contacts (
    list_id      bigint      NOT NULL REFERENCES streamflow.lists,
    entity_id    text        COLLATE "C" NOT NULL,
    contacted_on date,                  -- null: the file doesn't say when
    recorded_at  timestamptz NOT NULL,
    recorded_by  text        NOT NULL,
    file_hash    text        NOT NULL,
    written_at   timestamptz DEFAULT clock_timestamp(),
    written_by   text        DEFAULT session_user,
    PRIMARY KEY (list_id, entity_id)
);
