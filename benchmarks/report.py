"""What a benchmark found, as Markdown and as a picture, with the machine in words."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Table:
    """A Markdown table; the first row of cells is the head."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def markdown(self) -> str:
        lines = [f"| {' | '.join(self.head)} |", "|---" * len(self.head) + "|"]
        lines += [f"| {' | '.join(map(str, row))} |" for row in self.rows]
        caption = [self.caption, ""] if self.caption else []
        return "\n".join([*caption, *lines])


@dataclass(frozen=True)
class Report:
    """One benchmark's findings.

    Attributes
    ----------
    method : str
        What was done, beside what, how often; a paragraph.
    plot : function of a matplotlib Figure, optional
        Draws the picture.
    remarks : list of str
        What a reader of the tables must know: above all, where a peer is ahead.
    """

    title: str
    method: str
    tables: Sequence[Table]
    plot: Callable[[Any], None] | None = None
    remarks: Sequence[str] = field(default_factory=tuple)

    def markdown(self, picture: str = "") -> str:
        parts = [f"# {self.title}", self.method, *(table.markdown() for table in self.tables)]
        if self.remarks:
            parts.append("\n".join(f"- {remark}" for remark in self.remarks))
        if picture:
            parts.append(f"![{self.title}]({picture})")
        parts.append(machine())
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path, name: str) -> None:
        """Leave ``name.md`` and, if there is a plot, ``name.png``."""
        folder.mkdir(parents=True, exist_ok=True)
        picture = ""
        if self.plot is not None:
            from matplotlib.figure import Figure

            figure = Figure(figsize=(9, 5), layout="constrained")
            self.plot(figure)
            picture = f"{name}.png"
            figure.savefig(folder / picture, dpi=100)
        (folder / f"{name}.md").write_text(self.markdown(picture))


def machine() -> str:
    """The machine and the versions, in words."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    virtual = ""
    if cpuinfo.exists():
        text = cpuinfo.read_text()
        names = [line for line in text.splitlines() if line.startswith("model name")]
        if names:
            model = names[0].partition(":")[2].strip()
        virtual = "virtual " if " hypervisor" in text else ""
    versions = ", ".join(
        f"{name} {version}"
        for name in ("numba", "numpy", "PyAudio", "anyio", "trio", "soxr")
        if (version := _version(name))
    )
    return (
        f"A {virtual}machine with {os.cpu_count()} cores ({model}), {platform.system()}, "
        f"Python {platform.python_version()} ({sys.implementation.name}); {versions}."
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def peer(name: str) -> str:
    """A peer's name with its version; "name (not installed)" without it."""
    version = _version(name)
    return f"{name} {version}" if version else f"{name} (not installed)"
