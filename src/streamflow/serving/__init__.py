"""From an entity's id to a score: read its features, check them, score, follow the registry."""
