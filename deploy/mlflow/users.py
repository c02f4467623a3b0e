"""Create MLflow's users, with the passwords of the environment; runs before each server start.

`admin` is for people. `pipeline` manages experiments and models, `api` reads them.
"""

import os

from mlflow.exceptions import MlflowException
from mlflow.server.auth.config import read_auth_config
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

GRANTS = {"pipeline": "MANAGE", "api": "READ"}


def main() -> None:
    """Create or update the users and grant their permissions."""
    store = SqlAlchemyStore()
    store.init_db(read_auth_config().database_uri)
    for name in ("admin", *GRANTS):
        password = os.environ[f"MLFLOW_{name.upper()}_PASSWORD"]
        if store.has_user(name):
            store.update_user(name, password=password)
        else:
            store.create_user(name, password, is_admin=name == "admin")
    for name, permission in GRANTS.items():
        for kind in ("experiment", "registered_model"):
            try:
                store.grant_user_resource_permission(name, kind, "*", permission)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise


if __name__ == "__main__":
    main()
