-- Who may do what. The owner, who runs this, may do everything; nobody else may change the tables of
-- `streamflow`, and what is written there is only ever appended to. Run again at each migration:
-- rights are a state to be brought about, also after a restore.

REVOKE ALL ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database}
    TO streamflow_pipeline, streamflow_api, streamflow_feast, streamflow_reader;
GRANT TEMPORARY ON DATABASE {database} TO streamflow_pipeline;

GRANT USAGE ON SCHEMA streamflow
    TO streamflow_pipeline, streamflow_api, streamflow_feast, streamflow_reader;
GRANT SELECT ON streamflow.migrations
    TO streamflow_pipeline, streamflow_api, streamflow_feast, streamflow_reader;

-- A restore leaves rights behind, and then everybody might do this.
REVOKE ALL ON FUNCTION
    streamflow.create_prediction_partition(date), streamflow.drop_prediction_partition(date)
    FROM PUBLIC;

-- pipeline: history, features, models; reads what was predicted, and ends it when it's too old.
GRANT SELECT, INSERT ON
    streamflow.ingestions, streamflow.materializations, streamflow.promotions
    TO streamflow_pipeline;
GRANT USAGE ON SEQUENCE streamflow.ingestions_ingestion_id_seq TO streamflow_pipeline;
GRANT SELECT ON streamflow.served_models, streamflow.predictions TO streamflow_pipeline;
GRANT EXECUTE ON FUNCTION streamflow.drop_prediction_partition(date) TO streamflow_pipeline;
-- Who promotes with a key is looked up, and a refusal written down.
GRANT SELECT ON streamflow.api_keys, streamflow.api_key_revocations TO streamflow_pipeline;
GRANT INSERT ON streamflow.audit TO streamflow_pipeline;

-- api: reads features and which version is in Production, appends predictions and refusals.
GRANT SELECT ON
    streamflow.materializations, streamflow.api_keys, streamflow.api_key_revocations
    TO streamflow_api;
GRANT INSERT ON streamflow.served_models, streamflow.predictions, streamflow.audit
    TO streamflow_api;
GRANT EXECUTE ON FUNCTION streamflow.create_prediction_partition(date) TO streamflow_api;

-- reader: everything but the keys' hashes, and nothing but reading.
GRANT SELECT ON
    streamflow.ingestions, streamflow.materializations, streamflow.promotions,
    streamflow.served_models, streamflow.predictions, streamflow.audit,
    streamflow.api_key_revocations
    TO streamflow_reader;
GRANT SELECT (key_id, name, scopes, created_at, created_by, expires_at) ON streamflow.api_keys
    TO streamflow_reader;

-- The schemas in which others make tables: they are the pipeline's, and come later.
CREATE SCHEMA IF NOT EXISTS {history};
GRANT USAGE, CREATE ON SCHEMA {history}, online, feast, mlflow TO streamflow_pipeline;
GRANT USAGE ON SCHEMA online, feast TO streamflow_feast;
GRANT USAGE ON SCHEMA online, feast, mlflow TO streamflow_api;
GRANT USAGE ON SCHEMA {history}, online, feast, mlflow TO streamflow_reader;

-- What is there from before there were roles.
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

-- What comes later.
ALTER DEFAULT PRIVILEGES FOR ROLE CURRENT_USER, streamflow_pipeline
    IN SCHEMA online, feast GRANT SELECT ON TABLES TO streamflow_feast;
ALTER DEFAULT PRIVILEGES FOR ROLE CURRENT_USER, streamflow_pipeline
    IN SCHEMA online, feast, mlflow GRANT SELECT ON TABLES TO streamflow_api;
ALTER DEFAULT PRIVILEGES FOR ROLE CURRENT_USER, streamflow_pipeline
    IN SCHEMA {history}, online, feast, mlflow GRANT SELECT ON TABLES TO streamflow_reader;
