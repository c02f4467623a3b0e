"""Whether a use case's tables and features can work together, before anything is written."""

from __future__ import annotations

from streamflow.features.definition_findings import definition_findings
from streamflow.history.contract_findings import contract_findings
from streamflow.use_case import UseCase
from streamflow.use_case.findings import Finding, require_none
from streamflow.use_case.module import use_case_findings


def findings(use_case: UseCase) -> list[Finding]:
    """All that is wrong with the use case itself, its tables and its Feast definitions."""
    found = use_case_findings(use_case)
    in_tables: list[Finding] = []
    in_features: list[Finding] = []
    if callable(use_case.tables):
        in_tables, tables = contract_findings(use_case)
        if tables and callable(use_case.features):
            in_features = definition_findings(use_case, tables)
    return [*found, *in_tables, *in_features]


def require_usable(use_case: UseCase) -> None:
    """Raises UseCaseRefused if there is a finding."""
    require_none(use_case.name, findings(use_case))
