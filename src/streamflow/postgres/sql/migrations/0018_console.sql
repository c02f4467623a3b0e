-- Who has signed in to the console, by the SHA-256 of their cookie.
CREATE TABLE streamflow.console_sessions (
    session_hash bytea       PRIMARY KEY CHECK (octet_length(session_hash) = 32),
    key_id       bigint      NOT NULL REFERENCES streamflow.api_keys,
    started_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL
);

-- Sessions that were ended before their time.
CREATE TABLE streamflow.console_session_ends (
    session_hash bytea       PRIMARY KEY REFERENCES streamflow.console_sessions,
    ended_at     timestamptz NOT NULL
);
