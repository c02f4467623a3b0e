"""The account that a command or a notebook runs as, for the audit."""

from __future__ import annotations

import getpass
import os


def operator() -> str:
    """The operating system's name of the user who runs the process.

    It is the name of the account. Environment variables aren't used: everybody can set them.
    """
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, the user may have no name
        return f"uid {os.getuid()}"
    except ImportError:
        return getpass.getuser()
