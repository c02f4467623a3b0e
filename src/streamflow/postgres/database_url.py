"""The address of a database, in the forms in which others take it."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict, make_conninfo


def url_parts(url: str) -> dict[str, str]:
    """The address taken apart: host, port, user, password, dbname and options, where given."""
    return {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}


def sqlalchemy_url(database_url: str, schema: str, driver: str = "psycopg") -> str:
    """The address for SQLAlchemy, with `schema` as the search path of its sessions."""
    parts = url_parts(database_url)
    user, password, name = (parts.pop(part, "") for part in ("user", "password", "dbname"))
    parts["options"] = f"-csearch_path={schema} -ctimezone=UTC"
    credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"postgresql+{driver}://{credentials}@/{name}?{urlencode(parts)}"


def for_programs(url: str) -> tuple[str, dict[str, str]]:
    """How PostgreSQL's own programs connect: an argument, and what their environment has to hold.

    The password is in the environment, because anybody may see arguments.
    """
    parts = url_parts(url)
    password = parts.pop("password", None)
    return make_conninfo("", **parts), {"PGPASSWORD": password} if password else {}
