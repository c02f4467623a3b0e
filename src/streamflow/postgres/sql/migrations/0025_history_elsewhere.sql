-- Rows of history that are in tables of Apache Iceberg: their catalog, as PyIceberg's SQL catalog has
-- it, and in place of each history's table a view that has its columns and says where the rows are.
CREATE TABLE streamflow.iceberg_tables (
    catalog_name               varchar(255) NOT NULL,
    table_namespace            varchar(255) NOT NULL,  -- the use case
    table_name                 varchar(255) NOT NULL,  -- the history
    metadata_location          varchar(1000),
    previous_metadata_location varchar(1000),
    iceberg_type               varchar(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name)
);
CREATE TABLE streamflow.iceberg_namespace_properties (
    catalog_name   varchar(255)  NOT NULL,
    namespace      varchar(255)  NOT NULL,
    property_key   varchar(255)  NOT NULL,
    property_value varchar(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key)
);

-- Whatever reads such a view is told: no statement takes it for a history without rows. The columns
-- are the function's: of constants, a plan would know without it that no row fits.
CREATE FUNCTION streamflow.history_elsewhere(use_case text, history text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place text;
BEGIN
    SELECT property_value
    INTO place
    FROM streamflow.iceberg_namespace_properties
    WHERE namespace = use_case AND property_key = 'location';
    RAISE EXCEPTION 'the rows of %.% are in %', use_case, history, place
        USING ERRCODE = 'SF001';
END
$$;

-- `columns` is a JSON array of pairs, of all columns: a name and a type of PostgreSQL.
CREATE FUNCTION streamflow.create_history_elsewhere(use_case text, history text, columns json)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    definitions text;
BEGIN
    IF use_case IN ('streamflow', 'feast', 'online', 'mlflow', 'public', 'information_schema')
        OR starts_with(use_case, 'pg_') OR right(history, 8) <> '_history' THEN
        RAISE EXCEPTION 'the schema % is not for history', use_case
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF EXISTS (
        SELECT FROM json_array_elements(columns) AS given (pair)
        WHERE pair ->> 1 NOT IN (
            'text', 'bigint', 'double precision', 'boolean', 'date', 'timestamp with time zone')
    ) THEN
        RAISE EXCEPTION 'history has no columns of such a type'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT string_agg(format('%I %s', pair ->> 0, pair ->> 1), ', ' ORDER BY place)
    INTO definitions
    FROM json_array_elements(columns) WITH ORDINALITY AS given (pair, place);
    -- It is an error where a table is: its rows are here.
    EXECUTE format('DROP VIEW IF EXISTS %I.%I', use_case, history);
    EXECUTE format(
        'CREATE VIEW %I.%I AS SELECT * FROM streamflow.history_elsewhere(%L, %L) AS there (%s)',
        use_case, history, use_case, history, definitions
    );
END
$$;

-- As change_history does where the rows are here.
CREATE FUNCTION streamflow.change_history_elsewhere(
    use_case text, history text, kind text, column_name text, before text, type text, columns json
)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM streamflow.create_history_elsewhere(use_case, history, columns);
    INSERT INTO streamflow.history_changes (use_case, history, kind, column_name, before, type)
    VALUES (use_case, history, kind, column_name, before, type);
END
$$;

REVOKE ALL ON FUNCTION streamflow.create_history_elsewhere(text, text, json) FROM PUBLIC;
REVOKE ALL ON FUNCTION streamflow.change_history_elsewhere(text, text, text, text, text, text, json)
    FROM PUBLIC;
