"""Airflow: the month that ended last, tried each day; skipped until its files are there."""

from datetime import datetime, timedelta, timezone

from airflow import DAG
from airflow.providers.standard.operators.bash import BashOperator

with DAG(
    dag_id="streamflow_month",
    schedule="15 4 * * *",
    start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),  # noqa: UP017
    catchup=False,
    max_active_runs=1,  # a second one would be refused
) as dag:
    # 99 skips the task. 3 (gates refused) and 4 (alarms) fail it: the log ends with the reasons.
    BashOperator(
        task_id="run_month",
        # The blank at the end keeps Airflow from taking the name for that of a template.
        bash_command="/opt/streamflow/deploy/month/run-last-month ",
        skip_on_exit_code=99,
        env={
            "STREAMFLOW": "/opt/streamflow/.venv/bin/streamflow",
            "STREAMFLOW_HOME": "/var/lib/streamflow",
            "STREAMFLOW_MONTHS": "/srv/months",
        },
        append_env=True,
        retries=2,
        retry_delay=timedelta(minutes=10),
    )
