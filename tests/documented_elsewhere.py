"""The pages of documentation whose commands are run, by which test; and the commands that aren't
run there, and why."""

from __future__ import annotations

from collections.abc import Mapping

DOCKER = "it needs a Docker engine: tests/stack"
ANOTHER_SERVER = "it needs a database server of one's own: tests/integration/test_roles.py"
GATES = "its worlds take minutes each: tests/integration/test_gates_at_promotion.py, test_gates.py"

# By page, a test of tests/e2e/test_documented_*.py.
RUN_BY: Mapping[str, str] = {
    "docs/access.md": "test_the_guides_of_operations",
    "docs/bring-your-own-use-case.md": "test_a_use_case_of_ones_own_by_hand",
    "docs/history.md": "test_the_guides_of_operations",
    "docs/models.md": "test_the_guides_of_operations",
    "docs/month.md": "test_the_guides_of_a_month",
    "docs/operations.md": "test_the_guides_of_operations",
    "docs/quickstart.md": "test_the_quickstart",
    "docs/receipts.md": "test_the_guides_of_a_month",
    "docs/reproduce.md": "test_the_guides_of_a_month",
    "docs/several-months.md": "test_the_guide_to_several_months",
}

# By page, and by the command's beginning, or `# Heading` for all commands below it, or "" for all
# of the page.
NOT_RUN: Mapping[str, Mapping[str, str]] = {
    "README.md": {
        "make demo": "tests/e2e/test_story.py tells its story",
        "make test ": "it would run this test",
        "make test-slow": "it would run this test",
        "make check": "it is what checks the sources, and runs before each test in .ci/run",
        "make docs": "tests/unit/test_pages.py builds them",
        "make test-browser": "it runs tests/browser",
        "make stack-test": DOCKER,
        "make test-spark": "it runs tests/spark",
    },
    "docs/access.md": {
        "read -rs STREAMFLOW_PROMOTE_KEY": "a person types it: tests/integration/test_promoter.py",
        "streamflow promote 3": "as the line before it",
        "docker compose": DOCKER,
        "# Roles": ANOTHER_SERVER,
    },
    "docs/benchmarks.md": {"": "measuring takes hours: tests/unit/test_pages.py has its figures"},
    "docs/bring-your-own-use-case.md": {
        "# From your files": "tests/e2e/test_init.py, on months of its own",
        "export STREAMFLOW_USE_CASE": "its shell has a home of its own",
    },
    "docs/engines.md": {
        "# On Apache Spark": "it needs a Spark cluster: tests/spark",
        ".venv/bin/python -m bench": "measuring takes hours",
    },
    "docs/history.md": {
        "STREAMFLOW_HOME=elsewhere": "it needs an empty database of one's own: "
        "tests/integration/test_backed_up_history.py",
        "pg_dump": "it needs a database server of one's own",
        "rsync": "it copies to another machine",
    },
    "docs/month.md": {
        "streamflow run-month data/month_002": "as that of month_001, further down",
        "streamflow campaign effect": "it needs a campaign that helped: tests/integration/"
        "test_campaign_lists.py",
        "docker compose": DOCKER,
    },
    "docs/operations.md": {
        "streamflow restore": "its home must be empty, as that of the line after it is",
        "# Looking into the database": "it needs `up` with the embedded server",
        "# A PostgreSQL server of your own": ANOTHER_SERVER,
        "# Docker Compose": DOCKER,
        "# More replicas of the API": DOCKER,
        "# New passwords": DOCKER,
        "# Backup and restore": DOCKER,
        "# The test of the stack": DOCKER,
    },
    "docs/promoting.md": {
        "streamflow promote": GATES,
        "streamflow check": GATES,
        "streamflow compare": "it needs thousands of requests: tests/integration/"
        "test_live_comparison.py",
        "streamflow rollback": "tests/e2e/test_story.py",
        "streamflow history": "its lines are those of the page's other sections",
    },
    "docs/quickstart.md": {
        "make demo": "tests/e2e/test_story.py tells its story",
        "source .venv": "it is the tests' own environment",
    },
    "docs/reproduce.md": {
        "# What was known when": "tests/integration/test_reproduction.py",
        "# When it's different": "somebody changes rows in the database: tests/integration/"
        "test_reproduction.py",
        "# When several moved": "somebody commits: tests/integration/test_changed_training.py",
        "# In the recorded environment": "it installs packages for minutes: tests/integration/"
        "test_recorded_environment.py",
    },
    "docs/several-months.md": {
        "streamflow ingest export --as-of-from-column year,month": "its files have the month in "
        "one column: tests/integration/test_months_at_once.py",
    },
}
