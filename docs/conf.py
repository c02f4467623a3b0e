"""Sphinx's configuration: `make docs` builds the pages of this folder into build/docs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

project = "StreamFlow"
author = "The authors of StreamFlow"
extensions = ["myst_parser"]
exclude_patterns = ["benchmarks/*"]
html_theme = "furo"
html_title = "StreamFlow"
html_show_sphinx = False
html_show_copyright = False
smartquotes = False  # two hyphens are two hyphens
html_copy_source = False
# Nothing is loaded from elsewhere: the theme has its own style, and pages their own pictures.
html_theme_options = {"sidebar_hide_name": False}
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
# Fenced blocks that aren't of a language that Pygments knows are shown as they are.
highlight_language = "text"


def setup(app: Any) -> None:
    """Write the pages of the reference from the code before pages are read."""
    import links
    import reference_pages

    app.connect("builder-inited", lambda app: reference_pages.write(Path(app.srcdir, "reference")))
    app.connect("source-read", links.to_files_that_are_no_pages)
