"""How well each feature by itself tells the label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from zlib import crc32

from streamflow.history.values import checked
from streamflow.scaffold.draft import Feature, Proposal, TableProposal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# With fewer rows of either answer, a feature may tell them apart by chance.
FEWEST_OF_EACH = 30
# A number with no more values than this is taken as a category too: 2 may be what is looked for.
_MOST_VALUES = 50


def auc_alone(proposal: Proposal) -> Iterator[tuple[Feature, float]]:
    """Each feature with the AUC by itself, the best of these: of a number's order, either way
    round; of whether there is a value; of the share of positives that a value has, which is
    counted in one half of the rows and judged in the other.

    0.5 is no better than chance. Nothing where there are fewer than 30 rows of either answer.
    """
    import numpy as np

    tables = {one.name: one for one in proposal.tables}
    labels = _typed(tables[proposal.label_table], proposal, proposal.label_column)
    known = {key: label for key, label in labels.items() if label is not None}
    answers = np.array([label in proposal.positive for label in known.values()], dtype=bool)
    if min(answers.sum(), (~answers).sum()) < FEWEST_OF_EACH:
        return
    # By the keys, as the order of the rows may go by the label.
    half = np.array([crc32(key.encode()) % 2 for key in known], dtype=bool)
    for feature in proposal.features:
        if feature.table not in tables:  # of events: there is no column of it yet
            continue
        values = _typed(tables[feature.table], proposal, feature.name)
        yield feature, _auc(feature, [values.get(key) for key in known], answers, half)


def _auc(
    feature: Feature,
    values: Sequence[object],
    answers: NDArray[np.bool_],
    half: NDArray[np.bool_],
) -> float:
    import numpy as np

    there = np.array([one is not None for one in values], dtype=bool)
    found = [_either_way(there, answers)]
    if feature.kind != "string":
        numbers = np.array([float(one) for one in values if one is not None])  # type: ignore[arg-type]
        found.append(_either_way(numbers, answers[there]))
    texts = list(map(str, values))
    if feature.kind == "string" or len(set(texts)) <= _MOST_VALUES:
        _, which = np.unique(np.array(texts, dtype=object).astype(str), return_inverse=True)
        count = int(which.max()) + 1
        share = answers.mean()
        scores = np.zeros(len(answers))
        for counted, judged in ((half, ~half), (~half, half)):
            rows = np.bincount(which[counted], minlength=count)
            positive = np.bincount(which[counted], answers[counted], count)
            shares = np.where(rows > 0, positive / np.maximum(rows, 1), share)
            scores[judged] = shares[which[judged]]
        found.append(_area(scores, answers))
    return max(found)


def _either_way(numbers: NDArray[np.float64], answers: NDArray[np.bool_]) -> float:
    area = _area(numbers, answers)
    return max(area, 1 - area)


def _area(numbers: NDArray[np.float64], answers: NDArray[np.bool_]) -> float:
    """The area under the ROC curve; 0.5 where there are too few of an answer."""
    from scipy.stats import rankdata

    positive = int(answers.sum())
    negative = len(answers) - positive
    if min(positive, negative) < FEWEST_OF_EACH:
        return 0.5
    ranks = rankdata(numbers)
    area: float = (ranks[answers].sum() - positive * (positive + 1) / 2) / (positive * negative)
    return area


def _typed(table: TableProposal, proposal: Proposal, name: str) -> dict[str, object]:
    """The column's values by the key of their rows."""
    there = {ours: theirs for theirs, ours in table.names.items()}
    rows = table.profile.raw.rows
    column = table.profile.column(there[name])
    read = table.profile.raw.read_of(column.name)
    values, _ = checked(rows[column.name].combine_chunks(), column.kind, read)
    keys = map(str, rows[there[proposal.join_key]].to_pylist())
    return dict(zip(keys, values.to_pylist(), strict=True))
