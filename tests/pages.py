"""Runs the Python blocks of a page of the documentation, as one file, in their order."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ("DOCS", "run_page")

DOCS = Path(__file__).resolve().parent.parent / "docs"


def run_page(page: str, folder: Path) -> dict[str, Any]:
    """Run a page's blocks; the names that they leave.

    Parameters
    ----------
    folder : Path
        Where the file is written.  Its lines have the numbers that they have on the page.
    """
    text = (DOCS / page).read_text(encoding="utf-8")
    lines = [""] * len(text.splitlines())
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        first = text[: block.start(1)].count("\n")
        code = block[1].splitlines()
        lines[first : first + len(code)] = code
    path = folder / f"page_{Path(page).stem.replace('-', '_')}.py"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    module = ModuleType(path.stem)
    sys.modules[path.stem] = module  # where numba looks a kernel's globals up
    try:
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(module))
    finally:
        del sys.modules[path.stem]
    return vars(module)
