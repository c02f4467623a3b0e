"""Lists of whom to contact: made, brought back, and what they brought."""
