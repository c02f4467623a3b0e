-- What `run-month` found done or did, one row per step. Append-only. A step that is done again with
-- the same result adds no row.
CREATE TABLE streamflow.month_runs (
    month_run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model        text        NOT NULL,
    as_of        date        NOT NULL,
    known_at     timestamptz NOT NULL,  -- when the newest data of that month or before was recorded
    step         text        NOT NULL,
    outcome      text        NOT NULL,
    sentence     text        NOT NULL,
    facts        jsonb       NOT NULL,
    done_at      timestamptz NOT NULL,
    done_by      text        NOT NULL,
    written_at   timestamptz DEFAULT clock_timestamp(),
    written_by   text        DEFAULT session_user
);
CREATE INDEX month_runs_month ON streamflow.month_runs (model, as_of, step, month_run_id);
