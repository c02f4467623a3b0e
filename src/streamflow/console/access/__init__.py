"""Who visits the console, and what of it is refused."""
