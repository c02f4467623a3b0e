"""From an entity's id to a score with its receipt, without HTTP."""
