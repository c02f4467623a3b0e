"""How well each feature by itself tells the label."""

from __future__ import annotations

from collections.abc import Iterator

from streamflow.history.values import checked
from streamflow.scaffold.draft import Feature, Proposal, TableProposal

# With fewer rows of either answer, a feature may tell them apart by chance.
FEWEST_OF_EACH = 30


def auc_alone(proposal: Proposal) -> Iterator[tuple[Feature, float]]:
    """Each feature with the AUC of its own order; of a category, that of its share of positives.

    0.5 is no better than chance; an order the other way round counts as well. Nothing where there
    are fewer than 30 rows of either answer.
    """
    import numpy as np
    from scipy.stats import rankdata

    tables = {one.name: one for one in proposal.tables}
    labels = _typed(tables[proposal.label_table], proposal, proposal.label_column)
    for feature in proposal.features:
        values = _typed(tables[feature.table], proposal, feature.name)
        both = [
            (values[key], bool(label))
            for key, label in labels.items()
            if label is not None and values.get(key) is not None
        ]
        answers = np.array([label for _, label in both], dtype=bool)
        positive = int(answers.sum())
        negative = len(answers) - positive
        if min(positive, negative) < FEWEST_OF_EACH:
            continue
        found = [value for value, _ in both]
        if feature.kind == "string":
            texts, which = np.unique(np.array(found, dtype=object).astype(str), return_inverse=True)
            shares = np.bincount(which, answers, len(texts)) / np.bincount(which)
            numbers = shares[which]
        else:
            numbers = np.array(found, dtype=float)
        ranks = rankdata(numbers)
        auc = (ranks[answers].sum() - positive * (positive + 1) / 2) / (positive * negative)
        yield feature, max(float(auc), 1 - float(auc))


def _typed(table: TableProposal, proposal: Proposal, name: str) -> dict[str, object]:
    """The column's values by the key of their rows."""
    there = {ours: theirs for theirs, ours in table.names.items()}
    rows = table.profile.raw.rows
    column = table.profile.column(there[name])
    values, _ = checked(rows[column.name].combine_chunks(), column.kind, table.read)
    keys = map(str, rows[there[proposal.join_key]].to_pylist())
    return dict(zip(keys, values.to_pylist(), strict=True))
