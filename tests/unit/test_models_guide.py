"""The guide's models are what it says: they can be trained, served and proved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_case

from streamflow.features.feature_store import declared_schema
from streamflow.training import export, fit
from streamflow.training.estimator_findings import column_findings, estimator_findings, made_up_rows

GUIDE = Path(__file__).parents[2] / "docs" / "models.md"


def models() -> dict[str, Any]:
    written: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL):
        exec(block, written)
    return {name: written[name] for name in ("forest", "pipeline")}


@pytest.mark.parametrize("name", ["forest", "pipeline"])
def test_a_model_of_the_guide_is_served_as_it_is_trained(name: str, tmp_path: Path) -> None:
    model, schema = models()[name], declared_schema(tiny_case.use_case)
    assert not estimator_findings({name: model})
    assert not column_findings({name: model}, schema)
    fitted = fit.fit(made_up_rows(schema), model, 42)
    export.write(fitted, tmp_path)
    assert export.prove(fitted, tmp_path).label_flips == 0
