"""A database URL in the forms that SQLAlchemy and PostgreSQL's programs need."""

from __future__ import annotations

import os
import re
from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict, make_conninfo


def forget_connection_variables() -> None:
    """Remove libpq's environment variables, such as PGSERVICE, PGHOST and PGOPTIONS.

    They come before what a URL leaves out, and some before what it says. For a server that this
    process has started, they are about another one. Child processes lose them too.
    """
    for name in [name for name in os.environ if re.fullmatch("PG[A-Z_]+", name)]:
        del os.environ[name]


def url_parts(url: str) -> dict[str, str]:
    """The parts that the URL has: host, port, user, password, dbname, options and so on."""
    return {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}


def sqlalchemy_url(database_url: str, schema: str, driver: str = "psycopg") -> str:
    """The URL for SQLAlchemy, with `schema` as the search path of its sessions."""
    parts = url_parts(database_url)
    user, password, name = (parts.pop(part, "") for part in ("user", "password", "dbname"))
    parts["options"] = f"-csearch_path={schema} -ctimezone=UTC"
    credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"postgresql+{driver}://{credentials}@/{name}?{urlencode(parts)}"


def for_programs(url: str) -> tuple[str, dict[str, str]]:
    """The `--dbname` argument and the environment variables with which the programs connect.

    The password is in the environment, because other users can see a process's arguments.
    """
    parts = url_parts(url)
    password = parts.pop("password", None)
    return make_conninfo("", **parts), {"PGPASSWORD": password} if password else {}
