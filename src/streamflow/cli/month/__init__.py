"""The commands of the month: score, explain, export, monitor, report, all of it at once; forget."""
