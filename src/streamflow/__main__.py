"""`python -m streamflow` runs the command `streamflow`."""

from streamflow.cli.main import main

main()
