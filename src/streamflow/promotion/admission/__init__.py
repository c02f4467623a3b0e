"""Which version may serve, and what was changed elsewhere."""
