"""A backup's file: what is in it, and that nothing in it is believed unseen."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import streamflow
from streamflow.errors import StreamFlowError
from streamflow.operations import backup_archive
from streamflow.operations.backup_errors import BackupRefused, TamperedBackup
from streamflow.operations.backup_manifest import MANIFEST, MANIFEST_HASH, Manifest

NOW = datetime(2024, 3, 1, 8, 30, tzinfo=UTC)
DRAFT = Manifest(
    format=1,
    version="0.1.0",
    schema=3,
    postgres="18.1",
    taken_at=NOW,
    schemas=("churn", "feast", "online", "streamflow"),
    mlflow_schema="mlflow",
    location="file:///home/ann/mlflow",
    experiment=1,
)
LONG = f"artifacts/{'a folder/' * 20}é.json"
CONTENTS = {
    "mlflow.dump": [b"tables", b" of MLflow"],
    "streamflow.dump": [b"x" * 512, b"y" * 700],
    "artifacts/run/empty": [],
    LONG: ["größer".encode()],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written(tmp_path / "a.backup", CONTENTS)
    return tmp_path / "a.backup"


def written(file: Path, contents: dict[str, list[bytes]]) -> Manifest:
    def given(parts: list[bytes]) -> Callable[[], list[bytes]]:
        return lambda: parts

    with file.open("w+b") as out:
        return backup_archive.write(
            out, DRAFT, [(name, given(one)) for name, one in contents.items()]
        )


def rewritten(file: Path, change: Callable[[str, bytes], tuple[str, bytes]]) -> None:
    """The tar anew with each member changed; the manifest's hash is made to fit."""
    with tarfile.open(file) as tar:
        members = [(one.name, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]
    changed = [change(name, content) for name, content in members]
    sha256 = hashlib.sha256(dict(changed)[MANIFEST]).hexdigest()
    with tarfile.open(file, "w") as tar:
        for name, content in changed:
            if name == MANIFEST_HASH:
                content = f"{sha256}  {MANIFEST}\n".encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def with_manifest(file: Path, **changes: object) -> None:
    def change(name: str, content: bytes) -> tuple[str, bytes]:
        if name == MANIFEST:
            content = json.dumps({**json.loads(content), **changes}).encode()
        return name, content

    rewritten(file, change)


def refusal(file: Path) -> StreamFlowError:
    with pytest.raises(BackupRefused) as refused:
        backup_archive.read(file)
    assert str(file) in refused.value.message
    return refused.value


def test_what_was_written_is_read(file: Path) -> None:
    found = backup_archive.read(file)
    assert replace(found.manifest, members=()) == DRAFT
    assert [member.name for member in found.manifest.members] == list(CONTENTS)
    for name, parts in CONTENTS.items():
        assert b"".join(found.content(name)) == b"".join(parts)
    assert len(found.manifest.artifacts) == 2


def test_two_backups_have_two_ids(file: Path, tmp_path: Path) -> None:
    written(tmp_path / "same", CONTENTS)
    written(tmp_path / "other", {**CONTENTS, "mlflow.dump": [b"other tables"]})
    assert backup_archive.read(file).id == backup_archive.read(tmp_path / "same").id
    assert backup_archive.read(file).id != backup_archive.read(tmp_path / "other").id


def test_it_is_a_tar_that_can_be_checked_by_hand(file: Path, tmp_path: Path) -> None:
    told = subprocess.run(["tar", "-tf", file], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[:4] == [MANIFEST, MANIFEST_HASH, "mlflow.dump", "streamflow.dump"]
    subprocess.run(["tar", "-C", tmp_path, "-xf", file], check=True)
    assert (tmp_path / LONG).read_text() == "größer"
    sums = (tmp_path / MANIFEST_HASH).read_text().split()
    assert sums == [hashlib.sha256((tmp_path / MANIFEST).read_bytes()).hexdigest(), MANIFEST]
    assert {member["name"] for member in json.loads((tmp_path / MANIFEST).read_text())["members"]}


def test_the_program_says_the_version_of_its_package() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert re.search(r'^version = "(.+)"$', project, re.MULTILINE)[1] == streamflow.__version__  # type: ignore[index]


@pytest.mark.parametrize("name", [MANIFEST, MANIFEST_HASH, *CONTENTS])
def test_one_flipped_bit_is_found_and_its_member_named(file: Path, name: str) -> None:
    with tarfile.open(file) as tar:
        member = tar.getmember(name)
    whole = bytearray(file.read_bytes())
    # In the middle of the content, or of the header where there is no content.
    at = member.offset_data + member.size // 2 if member.size else member.offset + 20
    whole[at] ^= 1
    file.write_bytes(whole)
    refused = refusal(file)
    assert isinstance(refused, TamperedBackup)
    expected = MANIFEST if name == MANIFEST_HASH else name
    assert expected in refused.message


@pytest.mark.parametrize("share", [0.3, 0.6, 0.75])
def test_a_file_cut_short_is_refused(file: Path, share: float) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    assert isinstance(refusal(file), TamperedBackup)


def test_what_changes_after_the_check_is_found_too(file: Path) -> None:
    found = backup_archive.read(file)
    file.write_bytes(file.read_bytes().replace(b"tables of MLflow", b"tables of nobody"))
    with pytest.raises(TamperedBackup, match=r"mlflow\.dump"):
        list(found.content("mlflow.dump"))


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 4096])
def test_another_kind_of_file_is_none(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert "isn't a backup" in refusal(file).message


def test_no_file_and_a_folder_are_none(file: Path, tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "missing").message
    assert "directory" in refusal(tmp_path).message


def test_a_format_of_tomorrow_is_left_to_the_program_of_tomorrow(file: Path) -> None:
    with_manifest(file, format=2, version="7.0.0", more="than is known")
    refused = refusal(file)
    assert "format 2" in refused.message
    assert "StreamFlow 7.0.0" in refused.next


@pytest.mark.parametrize(
    "name",
    [
        *("artifacts/../../etc/passwd", "artifacts//etc/passwd", "/etc/passwd", "artifacts/"),
        *("../artifacts/x", "artifacts/./x", "artifacts/x/", "artifacts/x\0y", "x", "artifactsx"),
        *(MANIFEST, "artifacts/.."),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(file: Path, name: str) -> None:
    manifest = backup_archive.read(file).manifest
    members = [*manifest.members[:2], replace(manifest.members[2], name=name)]
    with_manifest(file, members=[vars(member) for member in members])
    refused = refusal(file)
    assert isinstance(refused, TamperedBackup)
    assert repr(name) in refused.message


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE]
)
def test_a_member_that_is_no_plain_file_is_refused(file: Path, kind: bytes) -> None:
    with tarfile.open(file) as tar:
        member = tar.getmember("artifacts/run/empty")
    link = tarfile.TarInfo("artifacts/run/empty")
    link.type, link.linkname = kind, "/etc/passwd"
    whole = file.read_bytes()
    header = link.tobuf(tarfile.GNU_FORMAT)
    file.write_bytes(whole[: member.offset] + header + whole[member.offset + 512 :])
    refused = refusal(file)
    assert isinstance(refused, TamperedBackup)
    assert "artifacts/run/empty" in refused.message


def test_a_member_too_many_and_one_too_few_are_named(file: Path) -> None:
    manifest = backup_archive.read(file).manifest
    with_manifest(file, members=[vars(member) for member in manifest.members[:-1]])
    assert LONG in refusal(file).message
    another = replace(manifest.members[-1], name="artifacts/another")
    with_manifest(file, members=[vars(member) for member in (*manifest.members, another)])
    assert "artifacts/another" in refusal(file).message


@pytest.mark.parametrize(
    "changes",
    [
        {"members": []},
        {"members": [{"name": "mlflow.dump"}]},
        {"members": 7},
        {"schema": "the newest"},
        {"taken_at": None},
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(file: Path, changes: dict[str, object]) -> None:
    with_manifest(file, **changes)
    assert MANIFEST in refusal(file).message


def test_a_member_twice_is_refused(file: Path) -> None:
    manifest = backup_archive.read(file).manifest
    twice = (*manifest.members, manifest.members[0])
    with_manifest(file, members=[vars(member) for member in twice])
    assert "twice" in refusal(file).message
