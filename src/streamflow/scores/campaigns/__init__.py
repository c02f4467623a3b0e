"""Lists of whom to contact, who was contacted, and what came of it."""
