"""A month of files, checked and appended with both time axes; and which months there are."""
