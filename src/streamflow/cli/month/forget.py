"""The command `forget`: a person who asks for it is gone from everything that is kept."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.terminal import (
    Json,
    open_platform,
    operator,
    print_result,
    print_table,
    show_progress,
)

if TYPE_CHECKING:
    from streamflow.history.forgotten.forgotten import ForgottenLine
    from streamflow.operations.forgetting.forget import Forgotten
    from streamflow.operations.forgetting.space import Left
    from streamflow.platform import Platform

app = typer.Typer()


@app.command(epilog='Example: streamflow forget U-1042 --why "asked for it, letter of 2024-03-04"')
def forget(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Whom.")] = None,
    why: Annotated[str | None, typer.Option(help="Kept for ever, with who and when.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="More ids: CSV or Parquet with the column of ids."),
    ] = None,
    even_if_unknown: Annotated[
        bool, typer.Option("--even-if-unknown", help="Also an id that no table has.")
    ] = False,
    later: Annotated[
        bool,
        typer.Option("--later", help="Leave the database's files for `--finish`, at night say."),
    ] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Take what is left out of the database's files.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Forget whoever was forgotten and is there again.")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="Who was forgotten, by hash.")] = False,
    json: Json = False,
) -> None:
    """Forget persons: their rows, files, runs' rows and bytes go; a salted hash stays."""
    named = bool(ids) or file is not None
    if [named, finish, again, listed].count(True) != 1:
        raise typer.BadParameter("Name one ID or more, or --file, --finish, --again or --list.")
    if not named and (why or even_if_unknown or later):
        raise typer.BadParameter("--finish, --again and --list take nothing else.")
    if named and not (why or "").strip():
        raise typer.BadParameter("Say --why.")
    with open_platform() as platform, show_progress(json, "forget") as progress:
        if listed:
            _print_lines(platform, json)
            return
        from streamflow.operations.forgetting import forget as step

        if finish:
            left = step.finish(platform, progress)
            print_result({"left": [asdict(one) for one in left]}, json, lambda: _print_left(left))
        elif again:
            from streamflow.operations.forgetting.again import forget_again

            done = forget_again(platform, progress)
            left = done.left
            print_result(asdict(done), json, lambda: _print_forgotten(done))
        else:
            done = step.forget(
                platform,
                [*(ids or []), *_ids_of(platform, file)],
                why or "",
                operator(),
                datetime.now(UTC),
                progress,
                even_if_unknown=even_if_unknown,
                later=later,
            )
            left = done.left
            print_result(asdict(done), json, lambda: _print_forgotten(done))
    if left and not later:
        raise typer.Exit(1)


def _ids_of(platform: Platform, file: Path | None) -> list[str]:
    from streamflow.pipeline import id_file

    if file is None:
        return []
    chunks = id_file.chunks(file, platform.use_case.join_key)
    return [entity for chunk in chunks for entity in chunk]


def _print_lines(platform: Platform, json: bool) -> None:
    from streamflow.history.forgotten.forgotten import forgotten_lines

    lines = forgotten_lines(platform.database, platform.use_case)

    def document(line: ForgottenLine) -> dict[str, object]:
        shown = {name: value for name, value in asdict(line).items() if name != "salt"}
        return {**shown, "hash": line.hash.hex()}

    def print_text() -> None:
        if not lines:
            print("Nobody was forgotten.")
            return
        rows = [
            [
                line.forgotten_id,
                line.hash.hex()[:16],
                f"{line.forgotten_at:%Y-%m-%d %H:%M}",
                line.forgotten_by,
                line.why,
                ", ".join(line.steps),
            ]
            for line in lines
        ]
        print_table("forgotten", ["", "hash", "when (UTC)", "by", "why", "done since"], rows)

    print_result([document(line) for line in lines], json, print_text)


def _print_forgotten(done: Forgotten) -> None:
    tables: dict[str, int] = {}
    for person in done.people:
        for table, count in person.tables.items():
            tables[table] = tables.get(table, 0) + count
    again = [person for person in done.people if person.already is not None]
    who = "1 person is" if len(done.people) == 1 else f"{len(done.people):,} persons are"
    if tables:
        print_table("rows that are gone", ["table", "rows"], [list(one) for one in tables.items()])
    if done.files:
        files = [list(one) for one in done.files.items()]
        print_table("files that had the id", ["file", "places"], files)
    if done.runs:
        runs = [[one.run_id, one.file, one.rows] for one in done.runs]
        print_table("rows of runs that are gone", ["run", "file", "rows"], runs)
        print("`streamflow reproduce` tells of these runs that rows were forgotten.")
    if again:
        print(f"{len(again):,} of them had been forgotten before.")
    if not done.people:
        print("Nobody who was forgotten is there again.")
    elif not (tables or done.files or done.runs):
        print("Nothing of them was left.")
    elif not done.left:
        print(f"{who} forgotten. What stays: `streamflow forget --list`.")
    _print_left(done.left)


def _print_left(left: list[Left]) -> None:
    for one in left:
        print(f"left: {one.what}: {one.why.rstrip('.')}.")
        print(f"next: {one.next}")
    if not left:
        print("No byte of who was forgotten is left in the database's files.")
