"""Events of a model's history, and their delivery to a webhook."""
