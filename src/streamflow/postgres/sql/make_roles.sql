-- The roles, which by themselves may do nothing.

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

-- What the pipeline makes, the owner may change as well; and MLflow's database is made for it.
GRANT streamflow_pipeline, streamflow_mlflow TO CURRENT_USER;
