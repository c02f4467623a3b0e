"""The stages of a model version, and the aliases of two of them."""

from __future__ import annotations

PRODUCTION, STAGING = "Production", "Staging"

# MLflow's name by the command line's.
STAGES = {"none": "None", "staging": STAGING, "production": PRODUCTION, "archived": "Archived"}

# The alias by the stage. At most one version at a time is in each of these stages.
ALIASES = {STAGING: "staging", PRODUCTION: "production"}
