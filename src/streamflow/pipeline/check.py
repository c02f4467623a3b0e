"""Whether a use case can work: all that is wrong with it at once. No service is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from streamflow.features import feature_store, use_case_check
from streamflow.progress import Progress, silent
from streamflow.scratch import scratch
from streamflow.training import estimator_findings
from streamflow.use_case import UseCase
from streamflow.use_case.findings import Finding


def check(use_case: UseCase, folder: Path, progress: Progress = silent) -> list[Finding]:
    """All that is wrong with the use case, its tables, its features and its models.

    Each model is fitted to made-up rows to see whether it can be served; files go below `folder`
    and are removed.
    """
    progress("tables and features")
    found = use_case_check.findings(use_case)
    if not isinstance(use_case.models, Mapping):
        return found
    models = {name: build for name, build in use_case.models.items() if callable(build)}
    progress("models")
    broken = estimator_findings.estimator_findings(models)
    whole = {
        name: build
        for name, build in models.items()
        if f"model {name!r}" not in {finding.where for finding in broken}
    }
    schema = None
    if not found:
        schema = feature_store.declared_schema(use_case)
        broken += estimator_findings.column_findings(whole, schema)
    with scratch(folder) as files:
        return [*found, *broken, *estimator_findings.served_findings(whole, files, schema)]
