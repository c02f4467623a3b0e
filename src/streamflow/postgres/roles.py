"""The database's roles: one for each service, with the rights that it needs and no more.

They are optional: without STREAMFLOW_ROLE_PASSWORDS one user owns and does everything, as in the
embedded database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import get_args

from psycopg import sql
from pydantic import SecretStr

from streamflow.postgres.database import Database
from streamflow.settings import RoleName

PREFIX = "streamflow_"
MLFLOW_DATABASE = "mlflow"


@dataclass(frozen=True)
class Role:
    """A role of the database; without `may_connect` it only passes on rights to its members."""

    name: str
    may_connect: bool


def grant(database: Database, history: str, passwords: Mapping[RoleName, SecretStr]) -> list[Role]:
    """Create the roles with their rights, let those in `passwords` connect, and return all roles.

    `history` is the schema of the use case's history. A role without a new password keeps its old
    one. MLflow's own database is created if `mlflow` has a password.
    Raises NotPermitted if the user may not create roles.
    """
    create(database, passwords)
    names = {
        "database": sql.Identifier(database.row("current_database")["name"]),
        "history": sql.Identifier(history),
        "history_name": sql.Literal(sql.Identifier(history).as_string()),
    }
    with database.transaction():
        database.execute("lock_migration")
        database.script(_text("roles.sql"), names)
    return existing(database)


def create(database: Database, passwords: Mapping[RoleName, SecretStr]) -> None:
    """Create the roles without rights, since there may be no tables yet, and MLflow's own database.

    Raises NotPermitted if the user may not create roles.
    """
    with database.transaction():
        database.execute("lock_migration")
        database.script(_text("create_roles.sql"))
        for name, password in passwords.items():
            hashed = database.password_hash(PREFIX + name, password.get_secret_value())
            database.execute(
                "set_role_password",
                {"role": sql.Identifier(PREFIX + name), "password": sql.Literal(hashed)},
            )
    if "mlflow" in passwords:
        _create_mlflow_database(database)


def existing(database: Database) -> list[Role]:
    """Our roles that the server has, by name."""
    names = [PREFIX + name for name in get_args(RoleName)]
    return [Role(**row) for row in database.rows("roles", names=names)]


def _create_mlflow_database(database: Database) -> None:
    if not database.row("database_exists", name=MLFLOW_DATABASE)["exists"]:
        name, owner = sql.Identifier(MLFLOW_DATABASE), sql.Identifier(f"{PREFIX}mlflow")
        database.execute("create_database", {"name": name, "owner": owner})
        database.execute("close_database", {"name": name})


def _text(file: str) -> str:
    return (resources.files("streamflow.postgres") / "sql" / file).read_text(encoding="utf-8")
