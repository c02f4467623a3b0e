"""The rows of a training set in arrays decide what they decided as lists, and hash as they did."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.orchard import orchard
from tests.training_tables import data_hash, table_of

from streamflow.training import dataset_table
from streamflow.training.fit import fit
from streamflow.training.judged_rows import judged_rows
from streamflow.training.rows.days import Days, days
from streamflow.training.rows.entities import entities, numbered
from streamflow.training.served_model import (
    CodedTexts,
    Feature,
    FeatureSchema,
    UnseenCategory,
    UnseenNull,
    encode,
)
from streamflow.training.split import Validation, split

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
ids = st.text(st.characters(codec="utf-8"), max_size=4)


def sha256(array: Any) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def test_hashes_of_before_are_those_of_today() -> None:
    """Each was computed when the rows were lists of Python."""
    assert data_hash(orchard()) == (
        "85e36bf97d635f752700be25960e10fa0625ad47c9b335d8b3392e7885cf421d"
    )
    judged = judged_rows(
        [FEBRUARY, JANUARY, JANUARY, FEBRUARY, JANUARY, FEBRUARY, FEBRUARY],
        ["b", "a", "\u00e9", "Z", "\U00010437", "\uff41", "a b"],
        np.array([1, 0, 1, 1, 0, 0, 1]),
    )
    assert judged.hash == "ae77d2761d585e3852882c809e162b76fbcc683928d5dddb8f47a70caf7c4e18"
    assert (judged.months, judged.rows, judged.positives) == ((JANUARY, FEBRUARY), 7, 4)
    parts = split(
        Validation("entities", 0.25),
        [f"m-{number % 37}\u00e9" for number in range(200)],
        [JANUARY] * 100 + [FEBRUARY] * 100,
        np.arange(200) % 3 // 2,
        timedelta(0),
        42,
    )
    assert sha256(parts.validation_rows.astype("<i8")) == (
        "a64ec840d7883d4aa94bad09c5840eb0594d0113b37e40c98c478b7395eeaba3"
    )


def test_rows_in_arrays_are_fitted_as_rows_in_lists_were() -> None:
    listed = orchard()
    arrays = dataset_table.training_set(
        table_of(listed), listed.schema, listed.as_of, listed.known_at
    )
    assert isinstance(arrays.columns["variety"], CodedTexts)

    def constant(random_state: int) -> Any:
        from sklearn.dummy import DummyClassifier

        return DummyClassifier(random_state=random_state)

    for training_set in (listed, arrays):
        fitted = fit(training_set, constant, 42)
        assert sha256(fitted.validation_matrix.astype("<f8")) == (
            "16a8dc584478b66605a73aa3f90b492c9389c49d8e200e1f7e17cdfaf4194752"
        )
        assert sha256(fitted.validation_rows.astype("<i8")) == (
            "9e7b8f453dd765feecc624bb0748734f4c93e08d8b5dbe8df16188907a6a33d1"
        )
    assert arrays.entities == listed.entities
    assert arrays.as_ofs == listed.as_ofs
    assert arrays.months == listed.months == [JANUARY]


@given(st.lists(ids, max_size=12))
def test_ids_are_numbered_by_their_bytes(names: list[str]) -> None:
    unique, numbers = np.unique(np.array(names, dtype=object), return_inverse=True)
    count, places = numbered(names)
    assert (count, places.tolist()) == (len(unique), numbers.tolist())
    assert list(entities(names)) == names


@given(st.lists(st.dates(date(1900, 1, 1), date(2100, 1, 1)), max_size=6))
def test_days_are_dates_one_by_one(as_ofs: list[date]) -> None:
    found = Days(days(as_ofs))
    assert (list(found), found == as_ofs, len(found)) == (as_ofs, True, len(as_ofs))
    assert [found[place] for place in range(len(as_ofs))] == as_ofs


@pytest.mark.parametrize("change", ["another order", "twice", "another month first"])
def test_rows_that_dont_ascend_are_refused(change: str) -> None:
    rows = orchard(4)
    names, as_ofs = list(rows.entities), list(rows.as_ofs)
    if change == "another order":
        names[:2] = reversed(names[:2])
    elif change == "twice":
        names[1] = names[0]
    else:
        as_ofs[0] = FEBRUARY
    with pytest.raises(ValueError, match="must ascend"):
        replace(rows, entities=names, as_ofs=as_ofs)


values = st.sampled_from(["a", "b", "c", "unseen", "other", None])


@given(
    values=st.lists(values, max_size=8),
    unseen=st.sampled_from(["refuse", "warn", "other"]),
    nullable=st.booleans(),
    null_seen=st.booleans(),
)
def test_coded_texts_are_encoded_as_texts(
    values: list[str | None], unseen: Any, nullable: bool, null_seen: bool
) -> None:
    feature = Feature(
        "word",
        "view",
        "STRING",
        nullable=nullable,
        unseen=unseen,
        null_seen=nullable and null_seen,
        categories=("a", "b", "c"),
    )
    schema = FeatureSchema("service", "entity", "id", (feature,))
    texts = ["other", "a", "never", "unseen", "c", "b"]
    codes = [len(texts) if one is None else texts.index(one) for one in values]
    coded = CodedTexts(np.array(codes, np.int64), texts)
    assert list(coded) == values

    def encoded(column: Any) -> Any:
        try:
            return encode(schema, {"word": column}).tolist()
        except (UnseenCategory, UnseenNull, ValueError) as error:
            return type(error), str(error)

    assert encoded(coded) == encoded(values)
