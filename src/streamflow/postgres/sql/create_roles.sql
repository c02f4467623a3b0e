-- The roles, without any right.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['streamflow_owner', 'streamflow_pipeline', 'streamflow_api', 'streamflow_feast',
                                'streamflow_mlflow', 'streamflow_reader'] LOOP
        IF to_regrole(name) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
    END LOOP;
    -- It owns the tables, and nobody connects as it.
    IF (SELECT rolcanlogin FROM pg_roles WHERE rolname = 'streamflow_owner') THEN
        ALTER ROLE streamflow_owner NOLOGIN;
    END IF;
END
$$;

-- Who migrates may change all tables, and create MLflow's database for that role.
GRANT streamflow_owner, streamflow_pipeline, streamflow_mlflow TO CURRENT_USER;
