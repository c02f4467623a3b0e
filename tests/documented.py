"""The commands of a page of documentation, run in a shell as a reader would type them.

A command is a line that begins with `$ ` in an indented block, with the lines that it goes on in;
what follows up to the next one is its output. A block that begins with a program's name has
commands alone. Output agrees where its words do: figures, ids, times and paths are another
machine's.
"""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import httpx
from tests.documented_elsewhere import NOT_RUN

ROOT = Path(__file__).parents[1]
PATIENCE_SECONDS = 180
# Of a table only some lines may be shown.
LEFT_OUT = "…"


# What a block of commands without prompts begins with.
PROGRAM = re.compile(
    r" {4}(streamflow|docker|make|export|git|pip|echo|curl|feast|python"
    r"|STREAMFLOW_HOME=\S+ streamflow) "
)
PROMPT = re.compile(r" {4,6}\$ ")


@dataclass(frozen=True)
class Command:
    """A command with the line of its page and the heading above it, and the lines that are shown
    below it."""

    line: int
    section: str
    text: str
    shown: Sequence[str]


def commands(page: Path, after: str = "") -> list[Command]:
    """The page's commands, of the lines from one that has `after`."""
    found: list[tuple[int, str, str, list[str]]] = []
    section, wanted = "", not after
    inside = goes_on = bare = False
    fenced = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        wanted = wanted or after in line
        if line.startswith("```"):
            fenced = "" if fenced else line[3:] or "text"
            continue
        if fenced:
            if fenced == "shell" and wanted:
                found.append((number, section, line, []))
            continue
        if line.startswith("#"):
            section = line.strip("# ")
        block = line.startswith("    ")
        if not wanted or not block:
            # An empty line may be one of the output.
            goes_on = bare = False
            inside = inside and wanted and not line.strip()
            continue
        text = line[4:]
        if not (inside or bare):
            bare = PROGRAM.match(line) is not None
        if goes_on:
            *of_first, before_it, shown = found.pop()
            found.append((*of_first, f"{before_it}\n{text}", shown))  # type: ignore[arg-type]
        elif bare or PROMPT.match(line):
            found.append((number, section, text.strip().removeprefix("$ "), []))
            inside = not bare
        elif inside:
            found[-1][3].append(text)
        if bare or goes_on or PROMPT.match(line):
            goes_on = _goes_on(found[-1][2])
    return [Command(*one) for one in found]


def _goes_on(command: str) -> bool:
    """Whether the command's end is in the next line."""
    if command.endswith("\\"):
        return True
    try:
        shlex.split(command, comments=True)
    except ValueError:  # a quote is open
        return True
    return False


def words(text: str) -> str:
    """The text in one line, without what differs from machine to machine."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "#", text)
    text = re.sub(r"\bstreamflow_[\w-]{40,}|\bstreamflow_\w+…", "#", text)  # a key
    text = re.sub(rf"\b(root|{re.escape(getpass.getuser())})\b", "#", text)
    text = re.sub(r"[^\s:]*/(?=(?:logs|reports)/)", "", text)
    text = re.sub(r"[-+]?\d[\d,.:+TZe%-]*", "#", text)
    return " ".join(text.split())


def lacking(shown: Sequence[str], output: str) -> list[str]:
    """The shown lines that the output doesn't have, in its order; lines may break elsewhere."""
    left, lacks = words(output), []
    for line in map(words, shown):
        if line in ("", LEFT_OUT, "..."):
            continue
        _, found, after = left.partition(line)
        if found:
            left = after
        else:
            lacks.append(line)
    return lacks


def not_run(page: str, command: Command) -> str | None:
    """Why the command isn't run with its page, by its section or its beginning; None if it is."""
    reasons = NOT_RUN.get(page, {})
    return next(
        (
            reason
            for begun, reason in reasons.items()
            if begun in ("", f"# {command.section}") or command.text.startswith(begun)
        ),
        None,
    )


@dataclass
class Shell:
    """A bash in `folder` with the environment of a reader. `replaced` are texts of the page that
    are others here, such as ports; servers are commands that don't come back."""

    folder: Path
    environment: Mapping[str, str]
    replaced: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=self.folder,
            env={**os.environ, **self.environment, "PATH": path, "COLUMNS": "200"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._servers: list[str] = []

    def run(self, command: str) -> tuple[int, str]:
        """The exit code and the output of a command."""
        end = f"end-{secrets.token_hex(8)}"
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        # A command mustn't read the commands that follow.
        here = f"{{\n{self._here(command)}\n}} </dev/null\n"
        self._bash.stdin.write(f"{here}ended=$?; echo; echo {end} $ended\n")
        self._bash.stdin.flush()
        lines: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(end):
                return int(line.split()[1]), "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell ended: {''.join(lines)}")

    def serve(self, command: str, url: str, shown: Sequence[str]) -> list[str]:
        """Start a server in the background, wait until the address answers and it has said what is
        shown, in whatever order its parts are ready; what it hasn't said in the end."""
        log = self.folder / f"server-{len(self._servers)}.log"
        log.touch()  # the server makes it when it begins
        # Not the shell's input, which is the commands that follow.
        code, pid = self.run(f"{command} >{log} 2>&1 </dev/null & echo $!")
        assert code == 0
        self._servers.append(pid.split()[-1])
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            said = log.read_text(encoding="utf-8")
            lacks = [line for one in shown for line in lacking([one], said)]
            try:
                if httpx.get(url).status_code < 500 and not lacks:
                    return []
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        return [*lacks, f"or doesn't answer at {url}: {said}"]

    def close(self) -> None:
        """End the servers, then the shell."""
        for pid in reversed(self._servers):
            # In the background of a shell that asks nobody, SIGINT is ignored.
            self.run(f"kill -TERM {pid}; wait {pid}")
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        self._bash.wait(60)

    def _here(self, text: str) -> str:
        for one, other in self.replaced.items():
            text = text.replace(one, other)
        return text


# Commands that end with another exit code than 0 say one of these.
FAILS = re.compile(r"error:|(different|forgotten|can't tell): |\d+ alarms? (was|were) raised")


def try_page(
    shell: Shell,
    page: Path,
    found: Sequence[Command],
    *,
    servers: Mapping[str, str] = MappingProxyType({}),
    before: Mapping[str, str] = MappingProxyType({}),
    serve: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[str]:
    """Run the commands in their order; yields what is wrong with one, by its line.

    `servers` has by a command's beginning the address that answers when it's up; `before` has, by
    its beginning, what somebody did before it that the page tells in words, and `serve` the server
    that somebody has started.
    """
    name = str(page.relative_to(ROOT))
    for one in found:
        place = f"{name}:{one.line}: {one.text}"
        if not_run(name, one) is not None:
            continue
        for prepared in _of(before, one.text):
            code, output = shell.run(prepared)
            if code:
                yield f"{place}\nbefore it, {prepared} ends with {code}:\n{output}"
        for server in _of(serve, one.text):
            shell.serve(server, shell._here(*_of(servers, server)), [])
        url = next(iter(_of(servers, one.text)), None)
        if url is not None:
            if lacks := shell.serve(one.text, shell._here(url), one.shown):
                yield f"{place}\ndoesn't say {lacks}"
            continue
        code, output = shell.run(one.text)
        if bool(code) != any(map(FAILS.search, one.shown)):
            yield f"{place}\nends with {code}:\n{output}"
        elif lacks := lacking(one.shown, output):
            yield f"{place}\ndoesn't say {lacks}\nbut:\n{output}"


def _of(texts: Mapping[str, str], command: str) -> list[str]:
    """Those whose key the command begins with."""
    return [text for begun, text in texts.items() if command.startswith(begun)]
