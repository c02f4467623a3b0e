-- Which of these ids are of people who were forgotten, of whatever use case: for the prediction log,
-- which doesn't write them back. The hash is HMAC-SHA256 (RFC 2104), computed once per id and salt; the
-- salts aren't shown.
CREATE OR REPLACE FUNCTION streamflow.forgotten_among(ids text[])
RETURNS TABLE (entity text, forgotten_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT entity, min(line.forgotten_id)
    FROM (
        SELECT salt,
               string_agg(set_byte('\x00', 0, get_byte(padded, place) # 54), ''
                          ORDER BY place) AS inner_pad,
               string_agg(set_byte('\x00', 0, get_byte(padded, place) # 92), ''
                          ORDER BY place) AS outer_pad
        FROM (SELECT DISTINCT salt FROM streamflow.forgotten) AS known
        CROSS JOIN generate_series(0, 63) AS place
        CROSS JOIN LATERAL (
            SELECT salt || decode(repeat('00', 64 - octet_length(salt)), 'hex') AS padded
        ) AS key
        GROUP BY salt
    ) AS keys
    CROSS JOIN unnest(ids) AS entity
    JOIN streamflow.forgotten AS line
        ON line.salt = keys.salt
        AND line.hash = sha256(outer_pad || sha256(inner_pad || convert_to(entity, 'UTF8')))
    GROUP BY entity
$$;

-- Whether rows of anybody were deleted since that moment, or up to an hour before: the deletion may have
-- been under way, and the clocks are of two machines.
CREATE FUNCTION streamflow.forgotten_since(moment timestamptz) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM streamflow.forgotten WHERE written_at >= moment - interval '1 hour'
    ) OR EXISTS (
        SELECT FROM streamflow.forgotten_steps
        WHERE step = 'rows' AND finished_at >= moment - interval '1 hour'
    )
$$;

REVOKE ALL ON FUNCTION streamflow.forgotten_since(timestamptz) FROM PUBLIC;
