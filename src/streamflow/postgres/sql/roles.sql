-- The rights of each role. Who runs this script is a member of `streamflow_owner`, which owns
-- history and the tables of `streamflow`. No other role may change them, and rows are only appended
-- to them. The script runs again at each migration and after a restore, and always leads to the same
-- rights.

REVOKE ALL ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database}
    TO streamflow_pipeline, streamflow_api, streamflow_feast, streamflow_reader;
GRANT TEMPORARY ON DATABASE {database} TO streamflow_pipeline;
-- Without this right a role can't be made the owner of a schema.
GRANT CREATE ON DATABASE {database} TO streamflow_owner;

CREATE SCHEMA IF NOT EXISTS {history};
DO $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('ALTER SCHEMA %I OWNER TO streamflow_owner', nspname)
        FROM pg_namespace
        WHERE oid IN ({history_name}::regnamespace, 'streamflow'::regnamespace)
            AND nspowner <> 'streamflow_owner'::regrole
        UNION ALL
        -- A sequence of an identity column follows its table.
        SELECT format('ALTER TABLE %s OWNER TO streamflow_owner', oid::regclass)
        FROM pg_class
        WHERE relkind IN ('r', 'p', 'v') AND relowner <> 'streamflow_owner'::regrole
            AND relnamespace IN ({history_name}::regnamespace, 'streamflow'::regnamespace)
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO streamflow_owner', oid::regprocedure)
        FROM pg_proc
        WHERE pronamespace = 'streamflow'::regnamespace
            AND proowner <> 'streamflow_owner'::regrole
    LOOP
        EXECUTE statement;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA streamflow
    TO streamflow_pipeline, streamflow_api, streamflow_feast, streamflow_reader;
GRANT SELECT ON streamflow.migrations
    TO streamflow_pipeline, streamflow_api, streamflow_feast, streamflow_reader;

-- After a restore these have the default rights, by which every role may execute them.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA streamflow FROM PUBLIC;

-- pipeline: history, features, models; reads predictions, and drops those that are too old. What the
-- server writes down of each line (`written_at`, `written_by`, `finished_at`), nobody else can.
REVOKE ALL ON
    streamflow.ingestions, streamflow.materializations, streamflow.promotions,
    streamflow.evaluations, streamflow.withdrawals, streamflow.absences
    FROM streamflow_pipeline;
GRANT SELECT ON
    streamflow.ingestions, streamflow.materializations, streamflow.promotions,
    streamflow.evaluations, streamflow.withdrawals, streamflow.absences,
    streamflow.rewritten_history
    TO streamflow_pipeline;
GRANT INSERT (ingestion_id, use_case, as_of, recorded_at, ingested_at, ingested_by, tables)
    ON streamflow.ingestions TO streamflow_pipeline;
GRANT INSERT (use_case, feature_view, as_of, event_timestamp, known_at, rows, seconds, not_recorded,
              newest)
    ON streamflow.materializations TO streamflow_pipeline;
GRANT SELECT ON
    streamflow.model_history, streamflow.model_events, streamflow.event_deliveries
    TO streamflow_pipeline, streamflow_api, streamflow_reader;
GRANT SELECT ON streamflow.served_days TO streamflow_pipeline, streamflow_reader;
GRANT INSERT ON streamflow.served_days TO streamflow_pipeline;
GRANT INSERT (event_id, delivered, status, problem) ON streamflow.event_deliveries
    TO streamflow_pipeline, streamflow_api;
GRANT EXECUTE ON FUNCTION
    streamflow.record_model_change(
        text, timestamptz, text, text, text, integer, text, text, text, text, integer, jsonb)
    TO streamflow_pipeline;
GRANT EXECUTE ON FUNCTION
    streamflow.record_noticed_change(
        text, timestamptz, text, text, text, integer, text, text, text, text, integer, jsonb)
    TO streamflow_api;
GRANT INSERT (model, version, run_id, model_hash, as_of, known_at, evaluated_at, evaluated_by, rows,
              positives, trained_on, rows_hash, data_hash, figures)
    ON streamflow.evaluations TO streamflow_pipeline;
GRANT INSERT (ingestion_id, recorded_at, withdrawn_by, why, tables) ON streamflow.withdrawals
    TO streamflow_pipeline;
GRANT INSERT ON streamflow.absences TO streamflow_pipeline;
GRANT EXECUTE ON FUNCTION
    streamflow.create_history(text, text, text, json),
    streamflow.create_events(text, text, text, text, json), streamflow.analyze_history(text, text),
    streamflow.change_history(text, text, text, text, text, text),
    streamflow.begin_month(text, text, date),
    streamflow.key_month(text, text, date, text, timestamptz),
    streamflow.finish_month(text, text, date, bigint),
    streamflow.create_month(text, text, date, text), streamflow.analyze_month(text, text, date)
    TO streamflow_pipeline;
GRANT SELECT ON streamflow.history_changes TO streamflow_pipeline;
GRANT USAGE ON SEQUENCE streamflow.ingestions_ingestion_id_seq TO streamflow_pipeline;
GRANT SELECT ON streamflow.served_models, streamflow.predictions, streamflow.shadow_scores
    TO streamflow_pipeline;
GRANT EXECUTE ON FUNCTION streamflow.drop_prediction_partition(date) TO streamflow_pipeline;
GRANT SELECT ON
    streamflow.monitorings, streamflow.monitored_figures, streamflow.alarms,
    streamflow.monitoring_bins, streamflow.alarm_events
    TO streamflow_pipeline, streamflow_api, streamflow_reader;
GRANT INSERT (model, version, run_id, model_hash, as_of, known_at, made_at, training_months,
              month_before, entities, tests, retraining, content_hash)
    ON streamflow.monitorings TO streamflow_pipeline;
GRANT INSERT ON streamflow.monitored_figures, streamflow.alarms TO streamflow_pipeline;
GRANT INSERT (run_id, model, bins) ON streamflow.monitoring_bins TO streamflow_pipeline;
GRANT INSERT (model, monitoring_id, position, payload) ON streamflow.alarm_events
    TO streamflow_pipeline;
GRANT SELECT ON streamflow.scorings, streamflow.scores, streamflow.unscored
    TO streamflow_pipeline, streamflow_api, streamflow_reader;
GRANT SELECT ON streamflow.unfinished_scorings, streamflow.unfinished_scores TO streamflow_pipeline;
GRANT INSERT ON streamflow.unfinished_scores TO streamflow_pipeline;
GRANT EXECUTE ON FUNCTION
    streamflow.begin_scoring(text, integer, text, date, timestamptz),
    streamflow.finish_scoring(bigint, text, text, timestamptz, text)
    TO streamflow_pipeline;
GRANT SELECT ON streamflow.absent_entities
    TO streamflow_pipeline, streamflow_api, streamflow_reader;
GRANT INSERT (use_case, month, entities, absent, departed) ON streamflow.absent_entities
    TO streamflow_pipeline;
GRANT SELECT ON streamflow.month_runs TO streamflow_pipeline, streamflow_reader;
GRANT INSERT (model, as_of, known_at, step, outcome, sentence, facts, done_at, done_by)
    ON streamflow.month_runs TO streamflow_pipeline;
GRANT SELECT ON streamflow.explanations, streamflow.reasons, streamflow.unexplained
    TO streamflow_pipeline, streamflow_api, streamflow_reader;
GRANT INSERT (scoring_id, first_rank, last_rank, explained_at, explained_by, scale, base,
              background, entities, refused)
    ON streamflow.explanations TO streamflow_pipeline;
GRANT INSERT ON streamflow.reasons, streamflow.unexplained TO streamflow_pipeline;
-- Whose rows don't come back; only who owns the tables deletes any.
GRANT SELECT ON streamflow.forgotten, streamflow.forgotten_steps TO streamflow_pipeline;
GRANT SELECT ON streamflow.lists, streamflow.listed, streamflow.contacts
    TO streamflow_pipeline, streamflow_reader;
GRANT INSERT (model, version, model_hash, run_id, scoring_id, campaign, as_of, known_at, hold_out,
              rates, limits, entities, held_out, without_value, departed, content_hash, exported_at,
              exported_by)
    ON streamflow.lists TO streamflow_pipeline;
GRANT INSERT ON streamflow.listed TO streamflow_pipeline;
GRANT INSERT (list_id, entity_id, contacted_on, recorded_at, recorded_by, file_hash)
    ON streamflow.contacts TO streamflow_pipeline;
-- The key of a promotion is looked up, and a refused promotion is recorded.
GRANT SELECT ON streamflow.api_keys, streamflow.api_key_revocations TO streamflow_pipeline;
GRANT INSERT ON streamflow.audit TO streamflow_pipeline;

-- The console acts as the pipeline, and keeps who has signed in.
GRANT SELECT ON streamflow.console_sessions, streamflow.console_session_ends TO streamflow_pipeline;
GRANT INSERT (session_hash, key_id, started_at, expires_at) ON streamflow.console_sessions
    TO streamflow_pipeline;
GRANT INSERT (session_hash, ended_at) ON streamflow.console_session_ends TO streamflow_pipeline;

-- api: reads features and the version in Production; appends predictions and refused requests.
GRANT SELECT ON
    streamflow.materializations, streamflow.api_keys, streamflow.api_key_revocations
    TO streamflow_api;
-- Which months were withdrawn.
GRANT SELECT (ingestion_id, use_case, as_of, recorded_at) ON streamflow.ingestions
    TO streamflow_api;
GRANT SELECT (ingestion_id, recorded_at) ON streamflow.withdrawals TO streamflow_api;
GRANT INSERT ON
    streamflow.served_models, streamflow.predictions, streamflow.shadow_scores, streamflow.audit
    TO streamflow_api;
GRANT EXECUTE ON FUNCTION streamflow.create_prediction_partition(date) TO streamflow_api;
GRANT EXECUTE ON FUNCTION
    streamflow.forgotten_among(text[]), streamflow.forgotten_since(timestamptz)
    TO streamflow_api;

-- A history in Apache Iceberg: whoever may append to it may commit to its catalog.
REVOKE ALL ON streamflow.iceberg_tables, streamflow.iceberg_namespace_properties
    FROM streamflow_pipeline;
GRANT SELECT, INSERT, UPDATE ON streamflow.iceberg_tables TO streamflow_pipeline;
GRANT SELECT, INSERT ON streamflow.iceberg_namespace_properties TO streamflow_pipeline;
GRANT SELECT ON streamflow.iceberg_tables, streamflow.iceberg_namespace_properties
    TO streamflow_reader;
GRANT EXECUTE ON FUNCTION streamflow.history_elsewhere(text, text)
    TO streamflow_pipeline, streamflow_api, streamflow_feast, streamflow_reader;
GRANT EXECUTE ON FUNCTION
    streamflow.create_history_elsewhere(text, text, json),
    streamflow.change_history_elsewhere(text, text, text, text, text, text, json)
    TO streamflow_pipeline;

-- reader: reads everything but the hashes of keys, and writes nothing.
GRANT SELECT ON
    streamflow.ingestions, streamflow.materializations, streamflow.promotions,
    streamflow.history_changes, streamflow.evaluations, streamflow.withdrawals,
    streamflow.absences, streamflow.served_models, streamflow.predictions,
    streamflow.shadow_scores, streamflow.audit, streamflow.api_key_revocations
    TO streamflow_reader;
GRANT SELECT (key_id, name, scopes, created_at, created_by, expires_at) ON streamflow.api_keys
    TO streamflow_reader;
-- Without the salt: with it, a hash of a short id can be found by trying all.
GRANT SELECT (forgotten_id, use_case, hash, forgotten_at, forgotten_by, why, tables, written_at,
              written_by)
    ON streamflow.forgotten TO streamflow_reader;
GRANT SELECT ON streamflow.forgotten_steps TO streamflow_reader;

-- History: its tables are created by a function, and rows are only appended.
REVOKE ALL ON SCHEMA {history} FROM streamflow_pipeline;
REVOKE ALL ON ALL TABLES IN SCHEMA {history} FROM streamflow_pipeline;
GRANT USAGE ON SCHEMA {history} TO streamflow_pipeline;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {history} TO streamflow_pipeline;

-- The schemas in which Feast and MLflow create tables later, as the pipeline.
GRANT USAGE, CREATE ON SCHEMA online, feast, mlflow TO streamflow_pipeline;
GRANT USAGE ON SCHEMA online, feast TO streamflow_feast;
GRANT USAGE ON SCHEMA online, feast, mlflow TO streamflow_api;
GRANT USAGE ON SCHEMA {history}, online, feast, mlflow TO streamflow_reader;

-- Tables that were created before there were roles.
DO $$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN
        SELECT oid FROM pg_class
        WHERE relkind IN ('r', 'p') AND relowner <> 'streamflow_pipeline'::regrole
            AND relnamespace IN (
                'online'::regnamespace, 'feast'::regnamespace, 'mlflow'::regnamespace)
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO streamflow_pipeline', relation);
    END LOOP;
END
$$;

GRANT SELECT ON ALL TABLES IN SCHEMA online, feast TO streamflow_feast;
GRANT SELECT ON ALL TABLES IN SCHEMA online, feast, mlflow TO streamflow_api;
GRANT SELECT ON ALL TABLES IN SCHEMA {history}, online, feast, mlflow TO streamflow_reader;

-- Tables that will be created.
ALTER DEFAULT PRIVILEGES FOR ROLE CURRENT_USER, streamflow_pipeline
    IN SCHEMA online, feast GRANT SELECT ON TABLES TO streamflow_feast;
ALTER DEFAULT PRIVILEGES FOR ROLE CURRENT_USER, streamflow_pipeline
    IN SCHEMA online, feast, mlflow GRANT SELECT ON TABLES TO streamflow_api;
ALTER DEFAULT PRIVILEGES FOR ROLE CURRENT_USER, streamflow_pipeline
    IN SCHEMA online, feast, mlflow GRANT SELECT ON TABLES TO streamflow_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE streamflow_owner
    IN SCHEMA {history} GRANT SELECT ON TABLES TO streamflow_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE streamflow_owner
    IN SCHEMA {history} GRANT SELECT, INSERT ON TABLES TO streamflow_pipeline;
