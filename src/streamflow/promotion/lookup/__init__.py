"""Questions to the history: is it whole, who was in Production then, what did a version serve."""
