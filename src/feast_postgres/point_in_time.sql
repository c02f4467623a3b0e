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
, "{{ view.name }}__rows" AS (
    SELECT DISTINCT {% for key in view.entities %}{{ quoted(key) }}, {% endfor %}entity_timestamp
    FROM entity_dataframe
)
, "{{ view.name }}__source" AS (
    SELECT
        {% for selection in view.entity_selections %}{{ selection }}, {% endfor %}
        {% for feature in view.features %}"{{ feature }}" AS {{ output(view, feature) }}, {% endfor %}
        "{{ view.timestamp_field }}" AS feature_timestamp
        {%- if view.created_timestamp_column %},
        "{{ view.created_timestamp_column }}" AS feature_created_timestamp
        {%- endif %}
    FROM {{ view.table_subquery }} AS source
)
, "{{ view.name }}__ranked" AS (
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
      ON feature_rows.feature_timestamp <= entity_rows.entity_timestamp
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
    SELECT {% for key in view.entities %}{{ quoted(key) }}, {% endfor %}entity_timestamp
        {%- for feature in view.features %}, {{ output(view, feature) }}{% endfor %}
    FROM "{{ view.name }}__ranked"
    WHERE feature_rank = 1
) AS "{{ view.name }}" USING ({% for key in view.entities %}{{ quoted(key) }}, {% endfor %}entity_timestamp)
{% endfor %}
