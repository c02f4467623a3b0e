-- Every change of who is in a stage, ours and those made elsewhere. Append-only. Each row holds the
-- hash of the row before, and the hash of itself with it, so that a row that is altered, removed or
-- put in between shows. `streamflow history --verify` computes the same hashes, without a function
-- of this database.
CREATE TABLE streamflow.model_history (
    model         text        NOT NULL,
    number        bigint      NOT NULL,  -- 1, 2, 3 and so on, per model
    changed_at    timestamptz NOT NULL,
    kind          text        NOT NULL CHECK (kind IN (
        'promoted', 'rolled back', 'refused', 'approved', 'canary started', 'canary ended',
        'changed elsewhere')),
    who           text        NOT NULL,
    why           text        NOT NULL,
    version       integer,               -- null: the stage is empty now
    model_hash    text        NOT NULL,  -- empty: not known
    run_id        text        NOT NULL,  -- empty: not known
    from_stage    text,
    to_stage      text,
    replaced      integer,               -- the version that was in to_stage before, if any
    details       jsonb       NOT NULL,  -- what the gates said, overrides, the canary's share
    written_at    timestamptz NOT NULL,
    written_by    text        NOT NULL,
    previous_hash text        NOT NULL,  -- of the row before; empty for the first one
    hash          text        NOT NULL,
    PRIMARY KEY (model, number)
);

-- An event per change, to be delivered to STREAMFLOW_WEBHOOK_URL; written with the change itself.
CREATE TABLE streamflow.model_events (
    event_id uuid   PRIMARY KEY,
    model    text   NOT NULL,
    number   bigint NOT NULL,  -- the change's
    hash     text   NOT NULL,  -- the change's
    payload  jsonb  NOT NULL,
    UNIQUE (model, number)
);

-- Each attempt to deliver an event. An event that no attempt has delivered is still to be delivered.
CREATE TABLE streamflow.event_deliveries (
    event_id     uuid        NOT NULL REFERENCES streamflow.model_events,
    attempted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered    boolean     NOT NULL,
    status       integer,               -- of the HTTP response, if there was one
    problem      text                   -- why it isn't delivered
);
CREATE INDEX event_deliveries_event ON streamflow.event_deliveries (event_id);
CREATE UNIQUE INDEX event_deliveries_delivered ON streamflow.event_deliveries (event_id)
    WHERE delivered;

-- What each model served on a day (UTC) that is over, so that it is known when the prediction log of
-- that day is dropped.
CREATE TABLE streamflow.served_days (
    day          date        NOT NULL,
    served_model uuid        NOT NULL,
    predictions  bigint      NOT NULL,
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    PRIMARY KEY (day, served_model)
);

-- Who answered at a time; rows come nearly in the order of their times.
CREATE INDEX predictions_predicted_at ON streamflow.predictions
    USING brin (predicted_at) WITH (autosummarize = on);

CREATE FUNCTION streamflow.append_model_history(
    changed_model text, changed_at timestamptz, kind text, who text, why text, version integer,
    model_hash text, run_id text, from_stage text, to_stage text, replaced integer, details jsonb,
    as_event boolean
)
RETURNS TABLE (change_number bigint, change_hash text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written_at    timestamptz;
    previous_hash text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('streamflow model history'), hashtext(changed_model));
    SELECT history.number, history.hash
    INTO change_number, previous_hash
    FROM streamflow.model_history AS history
    WHERE history.model = changed_model
    ORDER BY history.number DESC
    LIMIT 1;
    change_number := coalesce(change_number, 0) + 1;
    previous_hash := coalesce(previous_hash, '');
    written_at := clock_timestamp();
    change_hash := encode(sha256(convert_to(jsonb_build_array(
        changed_model, change_number,
        to_char(changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
        kind, who, why, version, model_hash, run_id, from_stage, to_stage, replaced, details,
        to_char(written_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
        session_user, previous_hash
    )::text, 'UTF8')), 'hex');
    INSERT INTO streamflow.model_history VALUES (
        changed_model, change_number, changed_at, kind, who, why, version, model_hash, run_id,
        from_stage, to_stage, replaced, details, written_at, session_user, previous_hash, change_hash
    );
    IF as_event THEN
        INSERT INTO streamflow.model_events VALUES (
            gen_random_uuid(), changed_model, change_number, change_hash,
            jsonb_build_object(
                'type', 'model.' || replace(kind, ' ', '_'),
                'timestamp', to_char(changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                'data', jsonb_build_object(
                    'model', changed_model, 'version', version, 'model_hash', model_hash,
                    'run_id', run_id, 'from_stage', from_stage, 'to_stage', to_stage,
                    'replaced', replaced, 'who', who, 'why', why, 'details', details,
                    'number', change_number, 'hash', change_hash
                )
            )
        );
    END IF;
    RETURN NEXT;
END
$$;

-- What a person does to a model.
CREATE FUNCTION streamflow.record_model_change(
    changed_model text, changed_at timestamptz, kind text, who text, why text, version integer,
    model_hash text, run_id text, from_stage text, to_stage text, replaced integer, details jsonb
)
RETURNS TABLE (change_number bigint, change_hash text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM streamflow.append_model_history(
        changed_model, changed_at, kind, who, why, version, model_hash, run_id, from_stage, to_stage,
        replaced, details, true)
$$;

-- What the API notices, or ends by itself; it may say nothing else.
CREATE FUNCTION streamflow.record_noticed_change(
    changed_model text, changed_at timestamptz, kind text, who text, why text, version integer,
    model_hash text, run_id text, from_stage text, to_stage text, replaced integer, details jsonb
)
RETURNS TABLE (change_number bigint, change_hash text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF kind NOT IN ('changed elsewhere', 'canary ended') THEN
        RAISE EXCEPTION 'a change of the kind % is not noticed but made', kind
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY SELECT * FROM streamflow.append_model_history(
        changed_model, changed_at, kind, who, why, version, model_hash, run_id, from_stage, to_stage,
        replaced, details, true);
END
$$;

-- The promotions so far. What their models' hashes were, only the prediction log may know.
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT promotions.*, served.model_hash, served.run_id
        FROM streamflow.promotions
        LEFT JOIN (
            SELECT model, version, min(model_hash) AS model_hash, min(run_id) AS run_id
            FROM streamflow.served_models
            GROUP BY model, version
            HAVING count(DISTINCT model_hash) = 1 AND count(DISTINCT run_id) = 1
        ) AS served USING (model, version)
        ORDER BY promotion_id
    LOOP
        PERFORM streamflow.append_model_history(
            one.model, one.promoted_at,
            CASE one.action WHEN 'rollback' THEN 'rolled back' ELSE 'promoted' END,
            one.promoted_by, one.why, one.version, coalesce(one.model_hash, ''),
            coalesce(one.run_id, ''), one.from_stage, one.to_stage, one.replaced,
            jsonb_build_object('gates', one.verdict, 'promotion_id', one.promotion_id,
                'written_at', one.written_at, 'written_by', one.written_by),
            false);
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION streamflow.append_model_history(
    text, timestamptz, text, text, text, integer, text, text, text, text, integer, jsonb, boolean)
    FROM PUBLIC;
REVOKE ALL ON FUNCTION streamflow.record_model_change(
    text, timestamptz, text, text, text, integer, text, text, text, text, integer, jsonb)
    FROM PUBLIC;
REVOKE ALL ON FUNCTION streamflow.record_noticed_change(
    text, timestamptz, text, text, text, integer, text, text, text, text, integer, jsonb)
    FROM PUBLIC;
