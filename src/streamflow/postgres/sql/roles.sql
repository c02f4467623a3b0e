-- The rights of each role. The owner runs this script and may do everything. No other role may
-- change the tables of `streamflow`, and rows are only appended to them. The script runs again at
-- each migration and after a restore, and always leads to the same rights.

REVOKE ALL ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database}
    TO streamflow_pipeline, streamflow_api, streamflow_feast, streamflow_reader;
GRANT TEMPORARY ON DATABASE {database} TO streamflow_pipeline;

GRANT USAGE ON SCHEMA streamflow
    TO streamflow_pipeline, streamflow_api, streamflow_feast, streamflow_reader;
GRANT SELECT ON streamflow.migrations
    TO streamflow_pipeline, streamflow_api, streamflow_feast, streamflow_reader;

-- After a restore these have the default rights, by which every role may execute them.
REVOKE ALL ON FUNCTION
    streamflow.create_prediction_partition(date), streamflow.drop_prediction_partition(date)
    FROM PUBLIC;

-- pipeline: history, features, models; reads predictions, and drops those that are too old.
GRANT SELECT, INSERT ON
    streamflow.ingestions, streamflow.materializations, streamflow.promotions
    TO streamflow_pipeline;
GRANT USAGE ON SEQUENCE streamflow.ingestions_ingestion_id_seq TO streamflow_pipeline;
GRANT SELECT ON streamflow.served_models, streamflow.predictions TO streamflow_pipeline;
GRANT EXECUTE ON FUNCTION streamflow.drop_prediction_partition(date) TO streamflow_pipeline;
-- The key of a promotion is looked up, and a refused promotion is recorded.
GRANT SELECT ON streamflow.api_keys, streamflow.api_key_revocations TO streamflow_pipeline;
GRANT INSERT ON streamflow.audit TO streamflow_pipeline;

-- api: reads features and the version in Production; appends predictions and refused requests.
GRANT SELECT ON
    streamflow.materializations, streamflow.api_keys, streamflow.api_key_revocations
    TO streamflow_api;
GRANT INSERT ON streamflow.served_models, streamflow.predictions, streamflow.audit
    TO streamflow_api;
GRANT EXECUTE ON FUNCTION streamflow.create_prediction_partition(date) TO streamflow_api;

-- reader: reads everything but the hashes of keys, and writes nothing.
GRANT SELECT ON
    streamflow.ingestions, streamflow.materializations, streamflow.promotions,
    streamflow.served_models, streamflow.predictions, streamflow.audit,
    streamflow.api_key_revocations
    TO streamflow_reader;
GRANT SELECT (key_id, name, scopes, created_at, created_by, expires_at) ON streamflow.api_keys
    TO streamflow_reader;

-- The schemas in which Feast, MLflow and ingestions create tables later, as the pipeline.
CREATE SCHEMA IF NOT EXISTS {history};
GRANT USAGE, CREATE ON SCHEMA {history}, online, feast, mlflow TO streamflow_pipeline;
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
                {history_name}::regnamespace, 'online'::regnamespace, 'feast'::regnamespace,
                'mlflow'::regnamespace)
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
    IN SCHEMA {history}, online, feast, mlflow GRANT SELECT ON TABLES TO streamflow_reader;
