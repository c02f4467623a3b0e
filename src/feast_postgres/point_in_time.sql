{#- The point-in-time join of several feature views: a template for Feast's own query builder, in
    place of its template, with the same rows. Feast's compares rows by a text of key and time, and
    joins each view three times. Here rows are compared by key and time as they are: less than half
    the time, and composite keys don't collide. As with Feast, rows of a view that are equal in key,
    event time and created time all come. -#}
{%- macro quoted(name) -%}"{{ name }}"{%- endmacro -%}
{%- macro output(view, feature) -%}
"{% if full_feature_names %}{{ view.name }}__{% endif %}{{ view.field_mapping.get(feature, feature) }}"
{%- endmacro -%}
WITH
{% if use_cte %}
entity_query AS ({{ left_table_query_string }}
),
{% endif %}
entity_dataframe AS MATERIALIZED (
    SELECT *, {{ entity_df_event_timestamp_col }} AS entity_timestamp
    FROM {% if use_cte %}entity_query{% else %}{{ left_table_query_string }}{% endif %}
)
{% for view in featureviews %}
, "{{ view.name }}__source" AS NOT MATERIALIZED (
    SELECT
        {% for selection in view.entity_selections %}{{ selection }}, {% endfor %}
        {% for feature in view.features %}"{{ feature }}" AS {{ output(view, feature) }}, {% endfor %}
        "{{ view.timestamp_field }}" AS feature_timestamp
        {%- if view.created_timestamp_column %},
        "{{ view.created_timestamp_column }}" AS feature_created_timestamp
        {%- endif %}
    FROM {{ view.table_subquery }} AS source
)
{#- Most rows have one of the very moment: they are found by equality, which takes half the time of
    comparing with each row of before. -#}
, "{{ view.name }}__at" AS MATERIALIZED (
    SELECT {% for key in view.entities %}{{ quoted(key) }}, {% endfor %}entity_timestamp
        {%- for feature in view.features %}, {{ output(view, feature) }}{% endfor %}
    FROM (
        SELECT
            feature_rows.*,
            moments.entity_timestamp,
            RANK() OVER (
                PARTITION BY {% for key in view.entities %}feature_rows.{{ quoted(key) }}, {% endfor %}moments.entity_timestamp
                ORDER BY feature_rows.{% if view.created_timestamp_column %}feature_created_timestamp{% else %}feature_timestamp{% endif %} DESC
            ) AS feature_rank
        FROM "{{ view.name }}__source" AS feature_rows
        JOIN (SELECT DISTINCT entity_timestamp FROM entity_dataframe) AS moments
          ON moments.entity_timestamp = feature_rows.feature_timestamp
         {% if filter_by_created_timestamp and view.created_timestamp_column %}
         AND feature_rows.feature_created_timestamp <= moments.entity_timestamp
         {% endif %}
         {% if view.created_timestamp_column %}
         AND feature_rows.feature_created_timestamp IS NOT NULL
         {% endif %}
    ) AS ranked
    WHERE feature_rank = 1
)
, "{{ view.name }}__rows" AS MATERIALIZED (
    SELECT DISTINCT {% for key in view.entities %}{{ quoted(key) }}, {% endfor %}entity_timestamp
    FROM entity_dataframe AS entity_rows
    WHERE NOT EXISTS (
        SELECT FROM "{{ view.name }}__at" AS found
        WHERE found.entity_timestamp = entity_rows.entity_timestamp
        {% for key in view.entities %}
          AND found.{{ quoted(key) }} = entity_rows.{{ quoted(key) }}
        {% endfor %}
    )
)
, "{{ view.name }}__before" AS (
    SELECT
        entity_rows.*,
        {% for feature in view.features %}feature_rows.{{ output(view, feature) }}, {% endfor %}
        RANK() OVER (
            PARTITION BY {% for key in view.entities %}entity_rows.{{ quoted(key) }}, {% endfor %}entity_rows.entity_timestamp
            ORDER BY feature_rows.feature_timestamp DESC
                {%- if view.created_timestamp_column %}, feature_rows.feature_created_timestamp DESC{% endif %}
        ) AS feature_rank
    FROM "{{ view.name }}__rows" AS entity_rows
    JOIN "{{ view.name }}__source" AS feature_rows
      ON feature_rows.feature_timestamp < entity_rows.entity_timestamp
     {% if view.ttl != 0 %}
     AND feature_rows.feature_timestamp >= entity_rows.entity_timestamp - {{ view.ttl }} * interval '1 second'
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
FROM entity_dataframe
{% for view in featureviews %}
LEFT JOIN (
    SELECT * FROM "{{ view.name }}__at"
    UNION ALL
    SELECT {% for key in view.entities %}{{ quoted(key) }}, {% endfor %}entity_timestamp
        {%- for feature in view.features %}, {{ output(view, feature) }}{% endfor %}
    FROM "{{ view.name }}__before"
    WHERE feature_rank = 1
) AS "{{ view.name }}" USING ({% for key in view.entities %}{{ quoted(key) }}, {% endfor %}entity_timestamp)
{% endfor %}
