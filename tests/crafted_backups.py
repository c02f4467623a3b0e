"""Backups that somebody has made by hand: hashes are right, and something else isn't."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamflow.operations.backup_manifest import MANIFEST, MANIFEST_HASH, STREAMFLOW_DUMP

# The comment of a key in the dump, which comes after all tables; a statement takes its place.
ROOM = "x" * 900


@dataclass(frozen=True)
class Case:
    """A crafted backup's name, and how to make it out of the members of a good one."""

    name: str
    write: Callable[[dict[str, bytes], Path], None]


def members(file: Path) -> dict[str, bytes]:
    """What is in a backup, by name, in order."""
    with tarfile.open(file) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]


def write(contents: dict[str, bytes], file: Path, **changes: Any) -> None:
    """A backup of these members, whose manifest has their sizes and hashes and these changes."""
    manifest = json.loads(contents[MANIFEST])
    manifest["members"] = [
        {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
        if name not in (MANIFEST, MANIFEST_HASH)
    ]
    write_raw(contents, file, json.dumps({**manifest, **changes}).encode())


def write_raw(contents: dict[str, bytes], file: Path, manifest: bytes) -> None:
    """A backup of these members with this manifest, and the manifest's hash."""
    line = f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()
    given = {**contents, MANIFEST: manifest, MANIFEST_HASH: line}
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in given.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def of_artifacts(*names: str) -> Case:
    """A backup with artifacts of these names."""

    def make(contents: dict[str, bytes], file: Path) -> None:
        write({**contents, **{f"artifacts/{name}": b"content" for name in names}}, file)

    shown = ", ".join(name if len(name) < 40 else f"{name[:30]} ({len(name)})" for name in names)
    return Case(f"artifacts {shown}", make)


def of_manifest(what: str, manifest: bytes) -> Case:
    """A backup with this manifest."""
    return Case(what, lambda contents, file: write_raw(contents, file, manifest))


def of_changes(**changes: Any) -> Case:
    """A backup whose manifest says something else."""
    return Case(f"manifest {changes}", lambda contents, file: write(contents, file, **changes))


def of_sql(statement: str) -> Case:
    """A backup whose dump of StreamFlow's tables has this statement."""

    def make(contents: dict[str, bytes], file: Path) -> None:
        dump = contents[STREAMFLOW_DUMP]
        start = dump.index(b"COMMENT ON CONSTRAINT ingestions_pkey")
        end = dump.index(ROOM.encode(), start) + len(ROOM) + 3
        assert dump[end - 3 : end] == b"';\n"
        room = end - start
        assert len(statement) < room, "the statement is too long"
        crafted = dump[:start] + statement.encode().ljust(room) + dump[end:]
        write({**contents, STREAMFLOW_DUMP: crafted}, file)

    return Case(f"SQL {statement}", make)


def huge_manifest(contents: dict[str, bytes], file: Path) -> None:
    """The manifest is a hole of 8 GB."""
    info = tarfile.TarInfo(MANIFEST)
    info.size = 8 << 30
    with file.open("wb") as out:
        out.write(info.tobuf(tarfile.GNU_FORMAT))
        out.truncate(info.size + 4096)


def huge_name(contents: dict[str, bytes], file: Path) -> None:
    """The first member's long name is a hole of 8 GB."""
    info = tarfile.TarInfo("././@LongLink")
    info.size, info.type = 8 << 30, tarfile.GNUTYPE_LONGNAME
    with file.open("wb") as out:
        out.write(info.tobuf(tarfile.GNU_FORMAT))
        out.truncate(info.size + 4096)


def names_of_names(contents: dict[str, bytes], file: Path) -> None:
    """A long name after a long name, and so on."""
    info = tarfile.TarInfo("././@LongLink")
    info.size, info.type = 1, tarfile.GNUTYPE_LONGNAME
    file.write_bytes((info.tobuf(tarfile.GNU_FORMAT) + bytes(512)) * 5000)


BY_HAND = [
    of_artifacts("n" * 256),
    of_artifacts("é" * 200),
    of_artifacts("/".join(["folder"] * 500)),
    of_artifacts("/".join(["f" * 250] * 17)),
    of_artifacts("/".join(["d"] * 3000)),
    of_artifacts("a", "a/b"),
    of_artifacts("a/b", "a"),
    of_artifacts(".restoring"),
    of_artifacts("a/.restoring/b"),
    of_artifacts("../outside"),
    of_artifacts("new\nline", "\x1b[31mred"),
    of_manifest("deep JSON", b'{"format": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    of_manifest("a manifest that is a list", b"[1]"),
    of_manifest("a manifest that is no UTF-8", b'{"format": "\xff"}'),
    of_manifest("a manifest with half a character", b'{"format": 2, "version": "\\ud800"}'),
    of_manifest("a number of 5000 digits", b'{"format": ' + b"9" * 5000 + b', "version": "1"}'),
    of_manifest("a long format", b'{"format": "' + b"9" * 100_000 + b'", "version": "1"}'),
    of_changes(schemas=["streamflow", "pg_catalog"]),
    of_changes(schemas=["streamflow", "x" * 64]),
    of_changes(schemas=["streamflow", "nothing"]),
    of_changes(schemas=["streamflow", 'a"b']),
    of_changes(schemas=[]),
    of_changes(mlflow_schema="streamflow"),
    of_changes(location="file:///\x00"),
    of_changes(experiment=-1),
    of_changes(experiment=10**30),
    of_changes(schema=0),
    of_changes(schema=1),
    of_changes(schema=10**6),
    of_changes(taken_at="9999999999999"),
    Case("a manifest of 8 GB", huge_manifest),
    Case("a name of 8 GB", huge_name),
    Case("names of names", names_of_names),
]

# Statements that would run something, now or when somebody uses the tables. {canary} is a file.
STATEMENTS = [
    "COPY (SELECT 1) TO PROGRAM 'touch {canary}';",
    "COPY (SELECT 1) TO '{canary}';",
    "\\! touch {canary}\n",
    "\\o {canary}\n\\qecho x\n",
    "COMMIT; \\! touch {canary}\n",
    "RESET ROLE; RESET SESSION AUTHORIZATION; COPY (SELECT 1) TO PROGRAM 'touch {canary}';",
    "SELECT lo_export(lo_from_bytea(0, 'x'), '{canary}');",
    "DO $$ BEGIN EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'touch {canary}'); END $$;",
    "CREATE EXTENSION file_fdw;",
    "CREATE ROLE somebody SUPERUSER;",
    "ALTER ROLE CURRENT_USER SUPERUSER;",
    "CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.one (number integer);",
    "CREATE SCHEMA public; CREATE TABLE public.one (number integer);",
    "CREATE FUNCTION streamflow.run() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN "
    "COPY (SELECT 1) TO PROGRAM 'touch {canary}'; RETURN NEW; END $f$; CREATE TRIGGER run BEFORE "
    "INSERT ON streamflow.ingestions FOR EACH ROW EXECUTE FUNCTION streamflow.run();",
    "CREATE FUNCTION feast.run() RETURNS text LANGUAGE plpgsql AS $f$ BEGIN COPY (SELECT 1) TO "
    "PROGRAM 'touch {canary}'; RETURN ''; END $f$; ALTER TABLE streamflow.ingestions ALTER COLUMN "
    "ingested_by SET DEFAULT feast.run();",
    "CREATE FUNCTION feast.run() RETURNS text LANGUAGE sql AS 'SELECT 1::text';",
    "ALTER TABLE streamflow.ingestions ALTER COLUMN ingested_by SET DEFAULT "
    "pg_read_file('/etc/passwd');",
    "ALTER TABLE streamflow.ingestions ADD CHECK "
    "(query_to_xml('SELECT pg_read_file(1)', true, true, '') IS NOT NULL);",
    "CREATE RULE run AS ON INSERT TO streamflow.ingestions DO INSTEAD NOTHING;",
    "ALTER TABLE streamflow.ingestions ENABLE ROW LEVEL SECURITY;",
    "CREATE POLICY run ON streamflow.ingestions USING (pg_read_file('/etc/passwd') IS NULL);",
    "CREATE VIEW streamflow.run AS SELECT pg_read_file('/etc/passwd');",
    "CREATE VIEW feast.run AS SELECT pg_read_file('/etc/passwd');",
    "CREATE MATERIALIZED VIEW feast.run AS SELECT 1;",
    "CREATE DOMAIN feast.run AS text CHECK (VALUE <> pg_read_file('/etc/passwd'));",
    "CREATE TYPE feast.run AS (one integer);",
    "CREATE TYPE feast.run AS ENUM ('one');",
    "CREATE OPERATOR feast.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq);",
    "CREATE CAST (streamflow.ingestions AS text) WITH INOUT;",
    "CREATE STATISTICS feast.run ON as_of, use_case FROM streamflow.ingestions;",
    "CREATE COLLATION feast.run (LOCALE = 'C');",
    "CREATE TEXT SEARCH CONFIGURATION feast.run (PARSER = default);",
    "CREATE PUBLICATION run FOR TABLE streamflow.ingestions;",
    "CREATE FOREIGN DATA WRAPPER run;",
    "CREATE EVENT TRIGGER run ON ddl_command_start EXECUTE FUNCTION pg_catalog.now();",
    "SELECT lo_create(4711);",
    "GRANT ALL ON streamflow.promotions TO PUBLIC;",
    "GRANT UPDATE (why) ON streamflow.promotions TO PUBLIC;",
    "GRANT CREATE ON SCHEMA streamflow TO PUBLIC;",
    "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;",
    "ALTER DATABASE postgres SET search_path = feast;",
    "CREATE INDEX run ON streamflow.ingestions ((pg_read_file(use_case)));",
    "CREATE UNLOGGED TABLE feast.run (one integer);",
    "CREATE TABLE feast.run () INHERITS (streamflow.ingestions);",
    "DROP TABLE streamflow.migrations;",
    "DELETE FROM streamflow.migrations;",
    "UPDATE streamflow.migrations SET sha256 = '';",
    "ALTER TABLE streamflow.migrations DROP COLUMN name;",
    "DROP TABLE streamflow.promotions;",
    "DROP SCHEMA mlflow CASCADE;",
    "CREATE DATABASE another;",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid();",
    "THIS IS NO SQL;",
    "COMMIT; COMMIT; ROLLBACK; SELECT 1;",
    "COPY streamflow.ingestions FROM STDIN;",
    "SELECT 1; -- nothing that matters",
]


def by_chance(number: int) -> Case:
    """A backup of which something was changed by chance, with right hashes or without."""
    chance = random.Random(number)

    def make(contents: dict[str, bytes], file: Path) -> None:
        changed = dict(contents)
        name = chance.choice([one for one in contents if one.endswith(".dump")])
        how = chance.choice(["flip", "cut", "double", "swap", "manifest", "tar"])
        content = bytearray(contents[name])
        if how == "flip":
            # Most of a dump is data; what it is made of stands at its beginning.
            end = chance.choice([200, 4000, len(content)])
            for _ in range(chance.randint(1, 8)):
                content[chance.randrange(min(end, len(content)))] = chance.randrange(256)
        elif how == "cut":
            del content[chance.randrange(len(content)) :]
        elif how == "double":
            at = chance.randrange(len(content))
            content[at:at] = content[at : at + chance.randint(1, 400)]
        elif how == "swap":
            one, other = sorted(name for name in contents if name.endswith(".dump"))
            changed[one], changed[other] = contents[other], contents[one]
        if how in ("flip", "cut", "double"):
            changed[name] = bytes(content)
        write(changed, file)
        if how == "manifest":
            text = bytearray(members(file)[MANIFEST])
            for _ in range(chance.randint(1, 4)):
                text[chance.randrange(len(text))] = chance.choice(b'0123456789"{}[],:\\ux /')
            write_raw(contents, file, bytes(text))
        elif how == "tar":
            whole = bytearray(file.read_bytes())
            for _ in range(chance.randint(1, 6)):
                whole[chance.randrange(0, len(whole))] ^= 1 << chance.randrange(8)
            file.write_bytes(whole)

    return Case(f"by chance {number}", make)


def crafted(canary: Path, number: int) -> list[Case]:
    """This many backups; all that are made by hand come first, of each kind in turn."""
    by_hand = [*BY_HAND, *(of_sql(one.replace("{canary}", str(canary))) for one in STATEMENTS)]
    random.Random(5).shuffle(by_hand)
    return [*by_hand, *map(by_chance, range(max(0, number - len(by_hand))))][:number]
