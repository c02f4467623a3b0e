"""`python -m streamflow` is `streamflow`."""

from streamflow.cli.main import main

main()
