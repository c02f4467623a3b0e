"""The database's roles: one for each service, with the rights that it needs and no more.

They are optional: without STREAMFLOW_ROLE_PASSWORDS one user owns everything and does everything,
as in the embedded database.
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
    name: str
    may_connect: bool


def grant(database: Database, history: str, passwords: Mapping[RoleName, SecretStr]) -> list[Role]:
    """Make the roles with their rights, let those in `passwords` connect, and say what there is.

    `history` is the schema of the use case's history. A role whose password isn't given keeps the
    one that it has. MLflow's own database is made if `mlflow` has a password.
    Raises NotPermitted if the user may not make roles.
    """
    make(database, passwords)
    names = {
        "database": sql.Identifier(database.row("current_database")["name"]),
        "history": sql.Identifier(history),
        "history_name": sql.Literal(sql.Identifier(history).as_string()),
    }
    with database.transaction():
        database.execute("lock_migration")
        database.script(_text("roles.sql"), names)
    return there(database)


def make(database: Database, passwords: Mapping[RoleName, SecretStr]) -> None:
    """The roles without a right, as there may be no tables yet, and MLflow's own database.

    Raises NotPermitted if the user may not make roles.
    """
    with database.transaction():
        database.execute("lock_migration")
        database.script(_text("make_roles.sql"))
        for name, password in passwords.items():
            hashed = database.password_hash(PREFIX + name, password.get_secret_value())
            database.execute(
                "set_role_password",
                {"role": sql.Identifier(PREFIX + name), "password": sql.Literal(hashed)},
            )
    if "mlflow" in passwords:
        _make_mlflow_database(database)


def there(database: Database) -> list[Role]:
    """Those that the server has, by name."""
    names = [PREFIX + name for name in get_args(RoleName)]
    return [Role(**row) for row in database.rows("roles", names=names)]


def _make_mlflow_database(database: Database) -> None:
    if not database.row("has_database", name=MLFLOW_DATABASE)["there"]:
        name, owner = sql.Identifier(MLFLOW_DATABASE), sql.Identifier(f"{PREFIX}mlflow")
        database.execute("create_database", {"name": name, "owner": owner})
        database.execute("close_database", {"name": name})


def _text(file: str) -> str:
    return (resources.files("streamflow.postgres") / "sql" / file).read_text(encoding="utf-8")
