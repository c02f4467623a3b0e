"""The stages of a model version, and the aliases that stand for two of them."""

from __future__ import annotations

PRODUCTION = "Production"

# MLflow's names by those of the command line.
STAGES = {"none": "None", "staging": "Staging", "production": PRODUCTION, "archived": "Archived"}

# By stage. One version at a time is in these.
ALIASES = {"Staging": "staging", PRODUCTION: "production"}
