"""The command `streamflow`, as `python -m streamflow` too."""

import signal
import sys


def main() -> None:
    """Run the command line and exit; Ctrl-C ends it without a traceback at any moment."""
    try:
        from streamflow.cli.main import main as run  # takes long enough for a Ctrl-C

        run()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # what is left is the interpreter's own end


if __name__ == "__main__":
    main()
