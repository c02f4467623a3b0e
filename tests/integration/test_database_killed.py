"""SIGKILL to PostgreSQL in the middle of a step: the step says so, and done again once the server
is back it ends as if nothing had happened."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests import killing, postgres_processes
from tests.conftest import beside, make_database, name_of, named, prepare, turn_off
from tests.killing import (
    KILLS,
    Copies,
    Forking,
    Place,
    Undisturbed,
    assert_as_undisturbed,
    history_and_online,
)

from streamflow.operations.restore import restore
from streamflow.postgres import embedded_server
from streamflow.settings import load_settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ends processes as Linux does")

STEPS = ("ingest", "train", "promote")


class Server:
    """A PostgreSQL of its own, on another port after each start."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self._home = home
        self._stack = stack
        self.start()
        turn_off(self.url, "fsync", "full_page_writes")  # but what is committed is in the kernel

    def start(self) -> None:
        self.url = self._stack.enter_context(embedded_server.running(self._home))

    @contextmanager
    def killed_after(self, seconds: float) -> Iterator[None]:
        """It's killed while the block runs, or at its end, as its container would be."""
        processes = postgres_processes.server_of(self.url)
        killing_it = threading.Timer(seconds, postgres_processes.kill, [processes])
        killing_it.start()
        try:
            yield
        finally:
            killing_it.join()

    def new_database(self, template: str = "template0") -> str:
        return make_database(self.url, template)

    def again(self, place: Place) -> Place:
        """The same place after another start."""
        return Place(named(self.url, name_of(place.url)), place.home)


@pytest.fixture(scope="module")
def server(homes: Path) -> Iterator[Server]:
    with ExitStack() as stack:
        yield Server(homes / "killed", stack)


@pytest.fixture(scope="module")
def forking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forking]:
    with killing.forking(tmp_path_factory.mktemp("killed")) as started:
        yield started


@pytest.fixture(scope="module")
def copies(forking: Forking, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Copies:
    prepared = server.new_database()
    prepare(prepared, tmp_path_factory.mktemp("prepared"))
    return killing.copying(forking, prepared, server.new_database, tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def undisturbed(forking: Forking, copies: Copies) -> Callable[[str], Undisturbed]:
    return killing.once(forking, copies)


Disturb = Callable[[str, int], Place]


@pytest.fixture
def disturb(
    server: Server, forking: Forking, copies: Copies, undisturbed: Callable[[str], Undisturbed]
) -> Disturb:
    """Kills the server while a step is done; where to do it again."""

    def do(step: str, number: int) -> Place:
        seconds = random.Random(f"{step} {number}").random() * undisturbed(step).seconds
        while True:
            place = copies(step)
            with server.killed_after(seconds):
                end = forking.start(step, place)
            server.start()
            if end.code != 0:
                break
            seconds /= 2  # it was done by then
        assert (end.code, end.error["error"]) == (1, "database_unavailable"), end
        assert end.error["next"]
        assert "Traceback" not in end.said
        return server.again(place)

    return do


@pytest.mark.slow
@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("step", STEPS)
def test_a_step_whose_database_is_killed_says_so_and_done_again_ends_as_if_undisturbed(
    step: str,
    number: int,
    forking: Forking,
    undisturbed: Callable[[str], Undisturbed],
    disturb: Disturb,
) -> None:
    place = disturb(step, number)
    assert_as_undisturbed(place, forking.do(step, place), undisturbed(step))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(KILLS))
def test_a_backup_whose_database_is_killed_is_none_and_made_again_is_whole(
    number: int,
    server: Server,
    forking: Forking,
    undisturbed: Callable[[str], Undisturbed],
    disturb: Disturb,
    tmp_path: Path,
) -> None:
    expected = undisturbed("backup")
    place = disturb("backup", number)
    file = place.home / f"{name_of(place.url)}.backup"
    assert not file.exists()
    forking.do("backup", place)
    assert not [*place.home.glob("*.partial")]
    history = beside(load_settings().history, f"restored {number}")
    restored = Place(server.new_database(), tmp_path, {"history": history})
    settings = {"database_url": restored.url, "use_case": "churn", **restored.settings}
    restore(load_settings(home=tmp_path, **settings), file)
    assert forking.do("nothing", restored) == expected.registry
    assert history_and_online(restored) == expected.rows
