-- Who may ask the API. A key itself is nowhere: its SHA-256 is enough to know it again.
CREATE TABLE streamflow.api_keys (
    key_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key_hash   bytea       NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
    name       text        NOT NULL,
    scopes     text[]      NOT NULL
        CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['predict', 'read', 'promote']),
    created_at timestamptz NOT NULL,
    created_by text        NOT NULL,
    expires_at timestamptz
);

CREATE TABLE streamflow.api_key_revocations (
    key_id     bigint      PRIMARY KEY REFERENCES streamflow.api_keys,
    revoked_at timestamptz NOT NULL,
    revoked_by text        NOT NULL
);

-- What the API refused. Attempts that are alike share a line, so that nobody fills the disk.
CREATE TABLE streamflow.audit (
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    attempts bigint      NOT NULL,
    code     text        NOT NULL,  -- the problem's
    route    text,
    method   text,
    client   text,                  -- the address that asked; null: one of many
    key_id   bigint                 -- of a key that is known
);
CREATE INDEX audit_first_at ON streamflow.audit (first_at);
