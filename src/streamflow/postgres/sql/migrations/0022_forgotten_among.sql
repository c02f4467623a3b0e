-- Which of these ids are of people who were forgotten, of whatever use case: for the prediction log,
-- which doesn't write them back. The hash is HMAC-SHA256 (RFC 2104); the salts aren't shown.
CREATE FUNCTION streamflow.forgotten_among(ids text[])
RETURNS TABLE (entity text, forgotten_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT entity, min(line.forgotten_id)
    FROM unnest(ids) AS entity
    CROSS JOIN (
        SELECT known.forgotten_id, known.hash,
               string_agg(set_byte('\x00', 0, get_byte(padded, place) # 54), ''
                          ORDER BY place) AS inner_pad,
               string_agg(set_byte('\x00', 0, get_byte(padded, place) # 92), ''
                          ORDER BY place) AS outer_pad
        FROM streamflow.forgotten AS known
        CROSS JOIN generate_series(0, 63) AS place
        CROSS JOIN LATERAL (
            SELECT salt || decode(repeat('00', 64 - octet_length(salt)), 'hex') AS padded
        ) AS key
        GROUP BY known.forgotten_id, known.hash
    ) AS line
    WHERE sha256(outer_pad || sha256(inner_pad || convert_to(entity, 'UTF8'))) = line.hash
    GROUP BY entity
$$;

REVOKE ALL ON FUNCTION streamflow.forgotten_among(text[]) FROM PUBLIC;
