"""The stored scores of a month as a table."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from streamflow.platform import Platform
from streamflow.scores import scorings
from streamflow.scores.scorings import Scoring

if TYPE_CHECKING:
    import pyarrow as pa


def scores(
    platform: Platform, as_of: date | None = None, version: int | None = None
) -> tuple[Scoring, pa.Table]:
    """The newest scoring, of that month and version if given, and its scores by rank.

    The columns are the entity, `probability` (double), `prediction` (int64: 0 or 1), `rank` (int64,
    1 is the highest probability) and `decile` (int64, 1 has the highest ranks).
    Raises NoScoring.
    """
    import pyarrow as pa

    use_case = platform.use_case
    scoring = scorings.newest(platform.database, use_case, as_of, version)
    chunks = platform.database.rows("scores_of_scoring", scoring_id=scoring.scoring_id)
    of_query = {
        use_case.join_key: ("entities", pa.large_string()),
        "probability": ("probabilities", pa.float64()),
        "prediction": ("labels", pa.int64()),
        "rank": ("ranks", pa.int64()),
        "decile": ("deciles", pa.int64()),
    }
    arrays = [
        pa.chunked_array([pa.array(chunk[name], kind) for chunk in chunks], kind)
        for name, kind in of_query.values()
    ]
    return scoring, pa.table(arrays, names=list(of_query))
