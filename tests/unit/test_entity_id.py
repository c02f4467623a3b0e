"""An id is an id for files of ids and for the API alike; for SQL, see the integration tests."""

from __future__ import annotations

import csv
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from pydantic import ValidationError
from tests.ids import IDS, NO_IDS, texts

from streamflow.api.schemas import request_models
from streamflow.entity_id import is_id
from streamflow.errors import UnreadableFile
from streamflow.pipeline.id_file import chunks

SINGLE, BATCH = request_models("user_id", "a", 10)


def accepted_by_the_api(text: str) -> bool:
    verdicts = set()
    for model, body in ((SINGLE, {"user_id": text}), (BATCH, {"user_ids": ["a", text]})):
        try:
            model.model_validate(body)
            verdicts.add(True)
        except ValidationError:
            verdicts.add(False)
    (verdict,) = verdicts
    return verdict


def accepted_in_a_file(text: str, folder: Path) -> bool:
    file = folder / "ids.csv"
    with file.open("w", encoding="utf-8", newline="") as lines:
        csv.writer(lines, quoting=csv.QUOTE_ALL).writerows([["user_id"], [text]])
    try:
        return list(chain.from_iterable(chunks(file, "user_id"))) == [text]
    except UnreadableFile:
        return False


@pytest.mark.parametrize("text", IDS)
def test_an_id_is_one_everywhere(text: str, tmp_path: Path) -> None:
    assert is_id(text)
    assert accepted_by_the_api(text)
    assert accepted_in_a_file(text, tmp_path)


@pytest.mark.parametrize("text", NO_IDS)
def test_what_is_no_id_is_none_anywhere(text: str, tmp_path: Path) -> None:
    assert not is_id(text)
    assert not accepted_by_the_api(text)
    assert not accepted_in_a_file(text, tmp_path)


@given(texts)
def test_any_text_has_one_verdict(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    assert accepted_by_the_api(text) is is_id(text)
    assert accepted_in_a_file(text, tmp_path_factory.getbasetemp()) is is_id(text)
