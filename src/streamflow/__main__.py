"""`python -m streamflow` is `streamflow`."""

from streamflow.cli import main

main()
