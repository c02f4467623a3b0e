"""Whether a version can be made again: as recorded, or made now."""

from __future__ import annotations

import time
from datetime import datetime

from streamflow.errors import UnknownRun
from streamflow.lineage import reproduce
from streamflow.lineage.reproduction import WHY_TAG, recorded_verdict
from streamflow.platform import Platform
from streamflow.progress import Progress
from streamflow.promotion.gates.recreated import Recreation
from streamflow.registry.records import ModelVersion
from streamflow.use_case.gates import Recreated

IDENTICAL = "identical"


def recreation(
    platform: Platform, version: ModelVersion, rule: Recreated, now: datetime, progress: Progress
) -> Recreation:
    """The verdict of the version's run, which is made now unless it is recorded as `identical`, or
    the `rule` is only to show it. Raises MlflowUnavailable.
    """
    try:
        run = platform.registry.run(version.run_id)
    except UnknownRun as error:
        return Recreation(version.run_id, "can't tell", error.message)
    recorded = recorded_verdict(run)
    why = _sentence(run.tags.get(WHY_TAG, ""))
    if recorded == IDENTICAL or rule == "show":
        return Recreation(run.run_id, recorded, why)
    begun = time.monotonic()
    made = reproduce.reproduce(
        platform, run, now, lambda part: progress(f"make version {version.version} again: {part}")
    )
    return Recreation(run.run_id, made.verdict, _sentence(made.why_kept), time.monotonic() - begun)


def _sentence(why: str) -> str:
    return f"{why[0].upper()}{why[1:].rstrip('.')}." if why else ""
