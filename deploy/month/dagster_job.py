"""Dagster: the month that ended last, tried each day; nothing is to be done until its files are
there."""

import json
import subprocess

from dagster import Backoff, Definitions, Failure, RetryPolicy, ScheduleDefinition, job, op

COMMAND = "/opt/streamflow/deploy/month/run-last-month"
WAITING, REFUSED, ALARMS = 99, 3, 4


@op(retry_policy=RetryPolicy(max_retries=2, delay=600, backoff=Backoff.LINEAR))
def run_month(context) -> str:
    """Run the command and return the status; a refused version and alarms fail without a retry."""
    done = subprocess.run([COMMAND], stdout=subprocess.PIPE, text=True)
    month = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}
    status = str(month.get("status", "failed"))
    context.log.info(f"{month.get('as_of')}: {status}")
    if done.returncode in (0, WAITING):
        return status
    said = [alarm["sentence"] for alarm in month.get("alarms", [])] or [str(month.get("message"))]
    raise Failure(
        f"{status}: {' '.join(said)}", allow_retries=done.returncode not in (REFUSED, ALARMS)
    )


@job
def streamflow_month() -> None:
    """The month as a whole."""
    run_month()


definitions = Definitions(
    jobs=[streamflow_month],
    schedules=[ScheduleDefinition(job=streamflow_month, cron_schedule="15 4 * * *")],
)
