"""SIGKILL in the middle of a step, then the same step again: it ends as if nothing had happened."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import killing
from tests.killing import (
    KILLS,
    Copies,
    Forking,
    Undisturbed,
    assert_as_undisturbed,
    until_all_have_left,
)

pytestmark = pytest.mark.slow

STEPS = (
    *("ingest", "materialize", "train", "promote", "rollback", "approve"),
    "promote_by_gates",
)


@pytest.fixture(scope="module")
def forking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forking]:
    with killing.forking(tmp_path_factory.mktemp("killed")) as started:
        yield started


@pytest.fixture(scope="module")
def copies(
    forking: Forking,
    prepared_database: str,
    new_database: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Copies:
    return killing.copying(forking, prepared_database, new_database, tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def undisturbed(forking: Forking, copies: Copies) -> Callable[[str], Undisturbed]:
    return killing.once(forking, copies)


@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("step", STEPS)
def test_a_step_killed_at_any_instant_and_run_again_ends_as_if_undisturbed(
    step: str,
    number: int,
    forking: Forking,
    copies: Copies,
    undisturbed: Callable[[str], Undisturbed],
) -> None:
    expected = undisturbed(step)
    place = copies(step)
    share = random.Random(f"{step} {number}").random()
    forking.start(step, place, after=share * expected.seconds)
    assert_as_undisturbed(place, forking.do(step, place), expected)


OF_A_PARTITION = [
    pytest.param("ingest", at, marks=pytest.mark.history_in_postgres("a month as a partition"))
    for at in ("after create_history", "after begin_month", "after key_month", "after finish_month")
]
PLACES = {
    "ingest": ["before record_ingestion"],
    "materialize": ["before record_materialization"],
    "train": ["after log_batch", "before create_model_version", "after create_model_version"],
    "promote": ["after transition_model_version_stage", "before record_model_change"],
    "rollback": ["before record_model_change"],
}


@pytest.mark.parametrize(
    ("step", "at"),
    [*OF_A_PARTITION, *((step, at) for step, places in PLACES.items() for at in places)],
)
def test_a_step_killed_between_two_writes_and_run_again_ends_as_if_undisturbed(
    step: str,
    at: str,
    forking: Forking,
    copies: Copies,
    undisturbed: Callable[[str], Undisturbed],
) -> None:
    expected = undisturbed(step)
    place = copies(step)
    assert forking.start(step, place, at=at).code == -9, f"{step} never came to {at}"
    assert_as_undisturbed(place, forking.do(step, place), expected)


PRUNED = {"versions": [(2, "Production"), (4, "None")], "runs": 2, "models": 2, "files": 4}
INSTANTS: list[dict[str, str | float]] = [
    {"at": "after delete_model_version"},
    {"at": "before delete_run"},
    *({"after": random.Random(f"prune {number}").random()} for number in range(KILLS)),
]


@pytest.mark.parametrize("instant", INSTANTS, ids=str)
def test_a_prune_killed_at_any_instant_and_run_again_has_taken_all_away(
    instant: dict[str, str | float], forking: Forking, copies: Copies
) -> None:
    place = copies("prune")
    assert forking.start("register_four", place).code == 0
    before = killing.runs_and_files(place)
    assert (before["runs"], before["models"], before["files"]) == (4, 4, 8)
    killed = forking.start("prune", place, **instant)
    if "at" in instant:
        assert killed.code == -9, f"prune never came to {instant}: {killed.said}"
    # What stays is whole at each instant.
    halfway = killing.runs_and_files(place)
    assert set(PRUNED["versions"]) <= set(halfway["versions"])
    until_all_have_left(place)
    assert forking.start("prune", place).code == 0
    assert killing.runs_and_files(place) == PRUNED


def test_folders_that_a_killed_training_worked_in_are_gone_after_the_next(
    forking: Forking, copies: Copies
) -> None:
    def left() -> list[Path]:
        return [*forking.temporary.glob("streamflow-*"), *place.home.glob("scratch/*")]

    place = copies("train")
    assert forking.start("train", place, at="after log_batch").code == -9
    assert left(), "the training should have been killed while it had a folder"
    forking.do("train", place)
    assert left() == []
