"""Prefect: the month that ended last, tried each day; `python prefect_flow.py` serves it."""

import json
import subprocess

from prefect import flow, task

COMMAND = "/opt/streamflow/deploy/month/run-last-month"
WAITING, REFUSED, ALARMS = 99, 3, 4


@task(retries=2, retry_delay_seconds=600)
def run_month() -> tuple[int, dict]:
    """The exit code and the document; an error is tried again."""
    done = subprocess.run([COMMAND], stdout=subprocess.PIPE, text=True)
    month = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}
    if done.returncode not in (0, WAITING, REFUSED, ALARMS):
        raise RuntimeError(f"{month.get('message')} {month.get('next')}")
    return done.returncode, month


@flow(name="streamflow-month")
def streamflow_month() -> str:
    """The month as a whole; a refused version and alarms fail the flow."""
    code, month = run_month()
    if code in (REFUSED, ALARMS):
        said = [alarm["sentence"] for alarm in month["alarms"]]
        raise RuntimeError(f"{month['status']}: {' '.join(said)}")
    return str(month["status"])


if __name__ == "__main__":
    streamflow_month.serve(name="daily", cron="15 4 * * *", limit=1)
