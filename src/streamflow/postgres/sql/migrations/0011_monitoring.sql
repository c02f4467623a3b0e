-- What has moved since the months a version learned from. Append-only. A monitoring is there only
-- with all its figures and alarms.
CREATE TABLE streamflow.monitorings (
    monitoring_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model           text        NOT NULL,
    version         integer     NOT NULL,
    run_id          text        NOT NULL,
    model_hash      text        NOT NULL,
    as_of           date        NOT NULL,
    known_at        timestamptz NOT NULL,
    made_at         timestamptz NOT NULL,
    training_months date[]      NOT NULL,
    month_before    date,                 -- null: as_of is the first month
    entities        bigint      NOT NULL,
    tests           integer     NOT NULL,  -- how many share the false-alarm rate
    retraining      jsonb       NOT NULL,  -- verdict, rule, sentence
    content_hash    text        NOT NULL,  -- over figures, alarms and advice
    written_at      timestamptz DEFAULT clock_timestamp(),
    written_by      text        DEFAULT session_user
);
CREATE INDEX monitorings_model ON streamflow.monitorings (model, as_of, monitoring_id);

CREATE TABLE streamflow.monitored_figures (
    monitoring_id bigint  NOT NULL REFERENCES streamflow.monitorings,
    position      integer NOT NULL,
    subject       text    NOT NULL CHECK (subject IN (
        'feature', 'score', 'quality', 'estimate', 'skew', 'data')),
    what          text    NOT NULL,
    compared_with text    NOT NULL CHECK (compared_with IN ('', 'training', 'month before')),
    figures       jsonb   NOT NULL,
    PRIMARY KEY (monitoring_id, position)
);

CREATE TABLE streamflow.alarms (
    monitoring_id bigint  NOT NULL REFERENCES streamflow.monitorings,
    position      integer NOT NULL,  -- 1 is told first
    rule          text    NOT NULL,
    what          text    NOT NULL,
    severity      text    NOT NULL CHECK (severity IN ('critical', 'warning')),
    figure        double precision NOT NULL,
    bound         double precision NOT NULL,
    compared_with text    NOT NULL CHECK (compared_with IN ('', 'training', 'month before')),
    sentence      text    NOT NULL,
    PRIMARY KEY (monitoring_id, position)
);

-- The bins in which a run's features are counted, so that all months are counted alike.
CREATE TABLE streamflow.monitoring_bins (
    run_id     text        PRIMARY KEY,
    model      text        NOT NULL,
    bins       jsonb       NOT NULL,  -- by feature: the edges, ascending; null for categories
    written_at timestamptz DEFAULT clock_timestamp(),
    written_by text        DEFAULT session_user
);

-- An event per alarm, delivered as those of `model_events` are.
CREATE TABLE streamflow.alarm_events (
    event_id      uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    model         text        NOT NULL,
    monitoring_id bigint      NOT NULL REFERENCES streamflow.monitorings,
    position      integer     NOT NULL,
    payload       jsonb       NOT NULL,
    written_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (monitoring_id, position)
);
ALTER TABLE streamflow.event_deliveries DROP CONSTRAINT event_deliveries_event_id_fkey;
