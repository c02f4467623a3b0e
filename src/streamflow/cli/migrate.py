"""The command `migrate`."""

from __future__ import annotations

import typer

from streamflow.cli.terminal import Json, print_result, print_table, show_progress

app = typer.Typer()


@app.command(epilog="Example: streamflow migrate")
def migrate(json: Json = False) -> None:
    """Bring the database's schema up to date, and its roles if STREAMFLOW_ROLE_PASSWORDS is set."""
    from streamflow.bootstrap import connected
    from streamflow.postgres import migrations, roles
    from streamflow.settings import load_settings
    from streamflow.use_case.module import load_use_case

    settings = load_settings()
    with connected(settings) as database, show_progress(json, "migrate"):
        applied = migrations.migrate(database)
        if settings.role_passwords:
            history = load_use_case(settings.use_case).name
            granted = roles.grant(database, history, settings.role_passwords)
        else:
            granted = roles.existing(database)
    known = migrations.migrations()
    result = {
        "schema": known[-1].number,
        "applied": [str(migration) for migration in applied],
        "roles": {role.name: role.may_connect for role in granted},
    }

    def print_text() -> None:
        rows = [[str(one), "applied" if one in applied else "was there"] for one in known]
        rows += [[role.name, "may connect" if role.may_connect else ""] for role in granted]
        print_table("database", ["", ""], rows)
        if not granted:
            print("No roles: one user does everything. See docs/operations.md, Roles.")

    print_result(result, json, print_text)
