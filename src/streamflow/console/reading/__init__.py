"""What the pages show, read from the tables; nothing is written."""
