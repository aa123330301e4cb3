"""The reference, built by Sphinx with warnings as errors, shows what users have."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MODULES = (
    "audiostream.errors",
    "audiostream.aio",
    "audiostream.aio.sources",
    "audiostream.compat",
    "audiostream.everyday",
    "audiostream.libpd",
    "audiostream.sources.thread",
    "audiostream.sources.wave",
    "audiostream.sources.puredata",
    "audiostream.testing",
)
"""What has public names; one that several have is shown in the first."""

INTERNAL = {
    "": {"attach", "detach", "encoded", "engine", "next_block", "play_on"},
    # These are anyio's errors, too, and else as those in audiostream.errors.
    "audiostream.aio": {"BusyError", "EndOfStream", "StreamClosedError"},
    # What a source must have is shown of Source.
    "audiostream.aio.sources": {
        *("aclose", "at", "begin", "block", "get_bytes", "is_played", "render", "shape")
    },
    "audiostream.libpd": {"Carrier", "Engine"},
    "audiostream.sources.thread": {"block"},
    "audiostream.sources.wave": {"block"},
    "audiostream.sources.puredata": {"block"},
    "audiostream.testing": {"name", "open"},
}
"""Names without an underscore that users do not need, by where they are; "" is everywhere."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The full names of all that the reference shows."""
    folder = tmp_path_factory.mktemp("reference")
    options = ["-W", "--keep-going", "-q", "-E", "-b", "html", "-d", str(folder / "trees")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(ROOT / "docs"), str(folder / "html")],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    inventory = (folder / "html" / "objects.inv").read_bytes()
    head = inventory.split(b"\n", 4)
    lines = zlib.decompress(head[4]).decode().splitlines()
    return {line.split()[0] for line in lines if " py:" in line}


def test_all_that_a_public_class_has_is_shown(shown: set[str]) -> None:
    missing = {name for name in expected() if name not in shown}
    assert missing == set()


def test_what_is_no_users_is_not_shown(shown: set[str]) -> None:
    names = {name.rpartition(".")[2] for name in shown}
    assert {name for name in names if name.startswith("_")} == set()
    assert names & INTERNAL[""] == set()


def test_a_few_by_name(shown: set[str]) -> None:
    """Of which the reference had lost some."""
    for name in (
        *("AudioSample.gain", "AudioSample.pan", "AudioSample.fade", "AudioSample.level"),
        *("AudioOutput.open", "AudioOutput.time", "AudioOutput.latency", "AudioOutput.stats"),
        *("AudioInput.aclose", "AudioInput.read", "AudioInput.poll", "Stats.frames"),
    ):
        assert f"audiostream.aio.{name}" in shown


def expected() -> set[str]:
    """The full names of all public classes and functions, and of their own members."""
    names = set()
    seen = set()
    for where in MODULES:
        module = importlib.import_module(where)
        internal = INTERNAL[""] | INTERNAL.get(where, set())
        for name in module.__all__:
            thing = getattr(module, name)
            if thing in seen or name in internal:
                continue
            if inspect.isfunction(thing) or inspect.isclass(thing):
                names.add(f"{where}.{name}")
                seen.add(thing)
            if inspect.isclass(thing):
                ours = [k for k in thing.__mro__ if k.__module__.startswith("audiostream.")]
                members = {member for kind in ours for member in vars(kind)} - internal
                names.update(f"{where}.{name}.{m}" for m in members if not m.startswith("_"))
    return names
