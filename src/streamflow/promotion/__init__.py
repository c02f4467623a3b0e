"""Moving a version to a stage: the gates, who does it, and the history of it."""
