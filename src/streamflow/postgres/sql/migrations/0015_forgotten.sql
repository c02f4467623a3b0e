-- Whoever was forgotten: what stays of a person is a hash with a secret salt, when, why and by whom.
-- Append-only. The rows themselves are deleted.
CREATE TABLE streamflow.forgotten (
    forgotten_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    use_case     text        NOT NULL,
    salt         bytea       NOT NULL CHECK (octet_length(salt) = 32),
    hash         bytea       NOT NULL CHECK (octet_length(hash) = 32),  -- HMAC-SHA256 of the id
    forgotten_at timestamptz NOT NULL,
    forgotten_by text        NOT NULL,
    why          text        NOT NULL,
    tables       jsonb       NOT NULL,  -- how many rows were deleted, by table
    written_at   timestamptz DEFAULT clock_timestamp(),
    written_by   text        DEFAULT session_user,
    UNIQUE (use_case, salt, hash)
);

-- What was done of it, each time that it was done to the end: `rows` says that more rows were deleted,
-- which had come after the first time. The other steps follow the last deletion; a person without one
-- of them since then isn't gone from everything yet.
CREATE TABLE streamflow.forgotten_steps (
    forgotten_id bigint      NOT NULL REFERENCES streamflow.forgotten,
    step         text        NOT NULL CHECK (step IN ('rows', 'files', 'runs', 'space')),
    tables       jsonb       NOT NULL DEFAULT '{}',  -- of `rows`: how many, by table
    finished_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX forgotten_steps_forgotten ON streamflow.forgotten_steps (forgotten_id);
