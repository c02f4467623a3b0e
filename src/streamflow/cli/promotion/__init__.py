"""The commands that decide which version serves, and what they print."""
