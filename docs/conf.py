"""Sphinx's settings: Markdown pages and numpy docstrings; built by `tox -e docs`."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from sphinx import addnodes

project = "audiostream"
author = "audiostream contributors"
copyright = "2026, audiostream contributors"
release = importlib.metadata.version("audiostream")
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_title = f"audiostream {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = False
napoleon_use_rtype = False


def setup(app: Any) -> None:
    """Connect to Sphinx."""
    app.connect("doctree-read", leave_words_alone)


def leave_words_alone(app: Any, document: Any) -> None:
    """Take a type's small words for words.

    The "frames" of "array (frames, channels)" would lead to some attribute of that name.
    """
    for reference in list(document.findall(addnodes.pending_xref)):
        target = reference.get("reftarget", "")
        if reference.get("refspecific") and target.islower() and "." not in target:
            reference.replace_self(reference.children)
