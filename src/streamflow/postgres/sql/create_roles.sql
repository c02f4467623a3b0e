-- The roles, without any right.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['streamflow_pipeline', 'streamflow_api', 'streamflow_feast',
                                'streamflow_mlflow', 'streamflow_reader'] LOOP
        IF to_regrole(name) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
    END LOOP;
END
$$;

-- The owner may change the pipeline's tables, and create MLflow's database for that role.
GRANT streamflow_pipeline, streamflow_mlflow TO CURRENT_USER;
