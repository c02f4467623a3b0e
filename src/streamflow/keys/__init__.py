"""API keys: which there are, what each may do, and an audit of what was refused."""
