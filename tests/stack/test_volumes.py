"""A person is forgotten in the stack: no file of a volume names them any more."""

from __future__ import annotations

import json

from tests.stack.conftest import PROJECT, Stack, docker

VOLUMES = ("postgres", "pipeline", "artifacts", "models")
# Whoever searches may read everything. Parquet compresses its values: they are read as a table.
SEARCH = """
import pathlib, sys
import pyarrow.parquet

person, found = sys.argv[1], []
for path in pathlib.Path("/volume").rglob("*"):
    if not path.is_file() or path.is_symlink():
        continue
    content = path.read_bytes()
    named = person.encode() in content
    if not named and content.startswith(b"PAR1"):
        named = person in repr(pyarrow.parquet.ParquetFile(path).read().to_pydict())
    if named:
        found.append(str(path))
print("\\n".join(sorted(found)))
"""

SOMEBODY = """
import pathlib

months = sorted(pathlib.Path("/volume/data").glob("*/month_*/users.csv"))[-2:]
first, second = (
    [line.partition(",")[0] for line in month.read_text().splitlines()[1:]] for month in months
)
print([one for one in first if one in set(second)][-1])
"""


def files_with(person: str, volume: str) -> list[str]:
    """The files of a volume of the stack that have the id in their bytes, or in a row."""
    mounted = f"{PROJECT}_{volume}:/volume:ro"
    python = ("--user", "0", "--entrypoint", "python", "streamflow-full", "-c", SEARCH, person)
    return docker("run", "--rm", "--network", "none", "--volume", mounted, *python).splitlines()


def somebody() -> str:
    """The last user of the first month who is in the second, too: of the training set, and scored.
    The other tests ask about those before."""
    mounted = f"{PROJECT}_pipeline:/volume:ro"
    python = ("--user", "0", "--entrypoint", "python", "streamflow-full", "-c", SOMEBODY)
    return docker("run", "--rm", "--network", "none", "--volume", mounted, *python).strip()


def test_no_byte_of_the_volumes_names_a_person_who_was_forgotten(stack: Stack) -> None:
    person = somebody()
    stack.pipeline("score", "--as-of", "2024-02-29")
    stack.pipeline("reasons", "--as-of", "2024-02-29")
    before = {volume: files_with(person, volume) for volume in VOLUMES}
    # Else it can't fail: history, generated months, training sets.
    assert all(before[volume] for volume in ("postgres", "pipeline", "artifacts")), before

    command = ("run", "--rm", "-T", "forget", "forget", person, "--why", "asked for it", "--json")
    done = json.loads(stack.compose(*command).stdout)

    assert done["left"] == []
    psql = ("psql", "--username", "streamflow", "--dbname", "streamflow")
    stack.compose("exec", "-T", "postgres", *psql, "--command", "CHECKPOINT")
    assert {volume: files_with(person, volume) for volume in VOLUMES} == {
        volume: [] for volume in VOLUMES
    }
