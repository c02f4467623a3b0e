{#- The point-in-time join of several feature views: a template for Feast's own query builder, in
    place of its template, with the same rows. Feast's compares rows by a text of key and time, and
    joins each view three times. Here rows are compared by key and time as they are, so that
    composite keys don't collide, and most are joined once. As with Feast, rows of a view that are
    equal in key, event time and created time all come.

    `moment` is the event timestamp of all entity rows, if it is known beforehand. -#}
{%- macro quoted(name) -%}"{{ name }}"{%- endmacro -%}
{%- macro output(view, feature) -%}
"{% if full_feature_names %}{{ view.name }}__{% endif %}{{ view.field_mapping.get(feature, feature) }}"
{%- endmacro -%}
WITH
{% if use_cte %}
entity_query AS ({{ left_table_query_string }}
),
{% endif %}
entity_dataframe AS {% if not moment %}MATERIALIZED {% endif %}(
    SELECT *, {{ entity_df_event_timestamp_col }} AS entity_timestamp
    FROM {% if use_cte %}entity_query{% else %}{{ left_table_query_string }}{% endif %}
)
{% for view in featureviews %}
, "{{ view.name }}__source" AS NOT MATERIALIZED (
    SELECT
        {% for selection in view.entity_selections %}{{ selection }}, {% endfor %}
        {% for feature in view.features %}"{{ feature }}" AS "value {{ loop.index }}", {% endfor %}
        "{{ view.timestamp_field }}" AS feature_timestamp
        {%- if view.created_timestamp_column %},
        "{{ view.created_timestamp_column }}" AS feature_created_timestamp
        {%- endif %}
    FROM {{ view.table_subquery }} AS source
)
{% endfor %}
{#- Most entity rows have a feature row of the very moment: it is found by equality, which takes
    half the time of comparing with each row of before. -#}
, rows_at AS MATERIALIZED (
    SELECT
        entity_dataframe.*
        {%- for view in featureviews %}{% set number = loop.index %},
        "at {{ number }}".is_found AS "found {{ number }}"
        {%- for feature in view.features %},
        "at {{ number }}"."value {{ loop.index }}" AS "value {{ number }} {{ loop.index }}"
        {%- endfor %}{% endfor %}
    FROM entity_dataframe
    {% for view in featureviews %}{% set number = loop.index %}
    LEFT JOIN (
        {% if moment %}
        {#- Of rows of the moment all but the newest created are left out. Most often all of them were
            created at one time: what came after the first is few rows, or none. -#}
        {%- set conditions -%}
        feature_timestamp = '{{ moment }}'::timestamptz
            {%- if view.created_timestamp_column %}
            AND feature_created_timestamp IS NOT NULL
            {%- if filter_by_created_timestamp %}
            AND feature_created_timestamp <= '{{ moment }}'::timestamptz
            {%- endif %}{% endif %}
        {%- endset %}
        SELECT *, '{{ moment }}'::timestamptz AS entity_timestamp, TRUE AS is_found
        FROM "{{ view.name }}__source" AS feature_rows
        WHERE {{ conditions }}
        {%- if view.created_timestamp_column %}
          AND NOT EXISTS (
            SELECT FROM (
                SELECT * FROM "{{ view.name }}__source"
                WHERE {{ conditions }}
                  AND feature_created_timestamp > (
                    SELECT min(feature_created_timestamp) FROM "{{ view.name }}__source"
                    WHERE {{ conditions }}
                )
            ) AS later
            WHERE later.feature_created_timestamp > feature_rows.feature_created_timestamp
              {% for key in view.entities %}
              AND later.{{ quoted(key) }} = feature_rows.{{ quoted(key) }}
              {% endfor %}
          )
        {%- endif %}
        {% else %}
        SELECT *, TRUE AS is_found
        FROM (
            SELECT
                feature_rows.*,
                moments.entity_timestamp,
                RANK() OVER (
                    PARTITION BY {% for key in view.entities %}feature_rows.{{ quoted(key) }}, {% endfor %}moments.entity_timestamp
                    ORDER BY feature_rows.{% if view.created_timestamp_column %}feature_created_timestamp{% else %}feature_timestamp{% endif %} DESC
                ) AS feature_rank
            FROM "{{ view.name }}__source" AS feature_rows
            JOIN (
                SELECT DISTINCT entity_timestamp FROM entity_dataframe
            ) AS moments
              ON moments.entity_timestamp = feature_rows.feature_timestamp
             {% if filter_by_created_timestamp and view.created_timestamp_column %}
             AND feature_rows.feature_created_timestamp <= moments.entity_timestamp
             {% endif %}
             {% if view.created_timestamp_column %}
             AND feature_rows.feature_created_timestamp IS NOT NULL
             {% endif %}
        ) AS ranked
        WHERE feature_rank = 1
        {% endif %}
    ) AS "at {{ number }}"
      ON "at {{ number }}".entity_timestamp = entity_dataframe.entity_timestamp
     {% for key in view.entities %}
     AND "at {{ number }}".{{ quoted(key) }} = entity_dataframe.{{ quoted(key) }}
     {% endfor %}
    {% endfor %}
)
{% for view in featureviews %}{% set number = loop.index %}
, "rows without {{ number }}" AS MATERIALIZED (
    SELECT DISTINCT {% for key in view.entities %}{{ quoted(key) }}, {% endfor %}entity_timestamp
    FROM rows_at
    WHERE "found {{ number }}" IS NULL
)
, "before {{ number }}" AS (
    SELECT
        entity_rows.*,
        {% for feature in view.features %}feature_rows."value {{ loop.index }}", {% endfor %}
        RANK() OVER (
            PARTITION BY {% for key in view.entities %}entity_rows.{{ quoted(key) }}, {% endfor %}entity_rows.entity_timestamp
            ORDER BY feature_rows.feature_timestamp DESC
                {%- if view.created_timestamp_column %}, feature_rows.feature_created_timestamp DESC{% endif %}
        ) AS feature_rank
    FROM "rows without {{ number }}" AS entity_rows
    JOIN "{{ view.name }}__source" AS feature_rows
      ON feature_rows.feature_timestamp < entity_rows.entity_timestamp
     {% if view.ttl != 0 %}
     AND feature_rows.feature_timestamp >= entity_rows.entity_timestamp - {{ view.ttl }} * interval '1 second'
     {% endif %}
     {% if moment %}
     AND feature_rows.feature_timestamp < '{{ moment }}'::timestamptz
     {% if view.ttl != 0 %}
     AND feature_rows.feature_timestamp >= '{{ moment }}'::timestamptz - {{ view.ttl }} * interval '1 second'
     {% endif %}
     {% endif %}
     {% if filter_by_created_timestamp and view.created_timestamp_column %}
     AND feature_rows.feature_created_timestamp <= entity_rows.entity_timestamp
     {% endif %}
     {% if view.created_timestamp_column %}
     AND feature_rows.feature_created_timestamp IS NOT NULL
     {% endif %}
     {% for key in view.entities %}
     AND feature_rows.{{ quoted(key) }} = entity_rows.{{ quoted(key) }}
     {% endfor %}
)
{% endfor %}
SELECT "{{ final_output_feature_names | join('", "') }}"
FROM (
    SELECT
        rows_at.*
        {%- for view in featureviews %}{% set number = loop.index %}{% for feature in view.features %},
        CASE WHEN rows_at."found {{ number }}" THEN rows_at."value {{ number }} {{ loop.index }}"
             ELSE "older {{ number }}"."value {{ loop.index }}" END AS {{ output(view, feature) }}
        {%- endfor %}{% endfor %}
    FROM rows_at
    {% for view in featureviews %}{% set number = loop.index %}
    LEFT JOIN (
        SELECT * FROM "before {{ number }}" WHERE feature_rank = 1
    ) AS "older {{ number }}"
      ON rows_at."found {{ number }}" IS NULL
     AND "older {{ number }}".entity_timestamp = rows_at.entity_timestamp
     {% for key in view.entities %}
     AND "older {{ number }}".{{ quoted(key) }} = rows_at.{{ quoted(key) }}
     {% endfor %}
    {% endfor %}
) AS joined
