"""Whether a database holds plain tables alone: nothing that runs when somebody uses them.

A trigger, a rule, a default or an index can call a function, and it runs with the rights of
whoever inserts a row. So a database with other people's content may have tables, their sequences,
indexes, keys and checks; their expressions may call PostgreSQL's own functions that only compute.
MLflow's one trigger is known by the text of its function.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamflow.postgres.database import Database
from streamflow.postgres.driver_errors import statements_refused

# SHA-256 of the bodies of MLflow's functions, in its migrations: prevent_secrets_aad_mutation.
FUNCTIONS = ["0d9cc5136b2b59d5b7707d59d331f0baa90d4eb9f642ac9e22cd9e64947d25fb"]


def unexpected_objects(database: Database, schemas: Sequence[str]) -> list[str]:
    """Descriptions of what is in the database beside plain tables in these schemas; sorted."""
    rows = database.rows("unexpected_objects", schemas=list(schemas), functions=FUNCTIONS)
    return [row["description"] for row in rows]


def drop_functions(database: Database) -> None:
    """Drop every function of the schema `streamflow`, and the triggers of history that use one.

    Raises ValueError if something uses one, and then drops none.
    """
    with statements_refused():
        database.script(database.row("drop_functions")["statements"])
