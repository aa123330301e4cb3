"""The compiled kernels on disk: never stale, and never in the way.

Each test works on a copy of the package, in processes of its own, and compiles only small
kernels; what is said of these holds for all, since one loop in ``build`` treats them alike.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest

import audiostream
from audiostream.realtime import compiled

PACKAGE = Path(audiostream.__file__).parent

PROGRAM = """
import json, sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from audiostream.realtime import compiled

every = compiled._entries
compiled._entries = lambda mark: {
    name: every(mark)[name] for name in ("load_word", "encode_block")
}
compiled.Kernels = SimpleNamespace


def build(**options):
    "What the kernels do, and how many came from the cache."
    k = compiled.build(**options)
    block = np.zeros(1, np.int16)
    k.encode_block(np.full(1, 0.5, np.float32), block.ctypes.data, 16, 1)
    word = np.full(1, 99, np.int64)
    hits = sum(sum(f.stats.cache_hits.values()) for f in (k.load_word, k.encode_block))
    return {"half": int(block[0]), "word": k.load_word(word.ctypes.data), "hits": hits}

"""

REPORT = "print(json.dumps(build()))\n"
RIGHT = {"half": 16384, "word": 99}


def cold(**more: Any) -> dict[str, Any]:
    return {**RIGHT, "hits": 0, **more}


WARM = {**RIGHT, "hits": 2}


class Copy:
    """A copy of the package, and processes that import it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.realtime = folder / "audiostream" / "realtime"
        ignored = shutil.ignore_patterns("__pycache__", "*.wav")
        shutil.copytree(PACKAGE, folder / "audiostream", ignore=ignored)

    def run(self, program: str = REPORT, **environment: str) -> Any:
        """Run a program after PROGRAM; what it prints, from JSON.  It must be silent."""
        done = self.process(PROGRAM + program, **environment)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    def process(self, program: str, **environment: str) -> subprocess.CompletedProcess[str]:
        # Nothing of numba's, and no coverage of what is only a copy.
        clean = {
            k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "COVERAGE_"))
        }
        # -B: only numba's files are wanted here, and no stale .pyc within one second
        return subprocess.run(
            [sys.executable, "-B", "-W", "error", "-c", program],
            env={**clean, "PYTHONPATH": str(self.folder), **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def entries(self) -> list[Path]:
        """The files that numba keeps."""
        return sorted(self.folder.rglob("*.nb[ic]"))


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """An environment in which no folder can be made for a cache, not even by root."""
    file = tmp_path / "a file"
    file.touch()
    inside = str(file / "inside")
    return {"NUMBA_CACHE_DIR": inside, "HOME": inside, "XDG_CACHE_HOME": inside}


def edit(path: Path) -> None:
    """Halve what 16-bit encoding makes of a sample."""
    text = path.read_text(encoding="utf-8")
    assert text.count("SCALE16 = np.float32(32768.0)") == 1
    path.write_text(
        text.replace("SCALE16 = np.float32(32768.0)", "SCALE16 = np.float32(16384.0)"),
        encoding="utf-8",
    )


def test_an_edit_to_another_module_compiles_anew(copy: Copy) -> None:
    assert copy.run() == cold()
    assert copy.run() == WARM
    edit(copy.realtime / "mixer.py")
    assert copy.run() == cold(half=8192)
    assert copy.run() == {**WARM, "half": 8192}


def test_without_the_fingerprint_the_stale_entry_would_be_taken(copy: Copy) -> None:
    """Why there is one; and a sign that the test above can fail."""
    blind = 'compiled.fingerprint = lambda: "same"\n' + REPORT
    assert copy.run(blind) == cold()
    edit(copy.realtime / "mixer.py")
    assert copy.run(blind) == WARM


def test_another_option_of_the_compiler_is_another_entry(copy: Copy) -> None:
    assert copy.run() == cold()
    assert copy.run(NUMBA_BOUNDSCHECK="1") == cold()
    assert copy.run() == WARM


def test_without_any_place_for_a_cache_it_compiles_in_memory(
    copy: Copy, nowhere: dict[str, str]
) -> None:
    (copy.realtime / "__pycache__").touch()  # a file where the folder would be
    assert copy.run(**nowhere) == cold()
    assert copy.entries() == []


def test_the_users_cache_serves_where_the_packages_folder_does_not(
    copy: Copy, tmp_path: Path
) -> None:
    (copy.realtime / "__pycache__").touch()
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert copy.run(**home) == cold()
    assert len(copy.entries()) == 4
    assert copy.run(**home) == WARM


def test_a_cache_can_be_declined(copy: Copy) -> None:
    assert copy.run("print(json.dumps(build(cache=False)))") == cold()
    assert copy.entries() == []


TRUNCATE = """
first = build()
found = []
for path in sorted(Path().rglob("*.nb?")):
    whole = path.read_bytes()
    for keep in (0, 1, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        found.append([path.suffix, keep, build()])
        path.write_bytes(whole)
print(json.dumps([first, build(), found]))
"""


def test_a_truncated_entry_is_no_error(copy: Copy) -> None:
    first, last, found = copy.run(TRUNCATE)
    assert first == cold()
    assert last == WARM
    assert len(found) == 4 * 5
    for suffix, keep, outcome in found:
        # The entry that is cut is compiled, the other one loaded.
        assert outcome == {**RIGHT, "hits": 1}, (suffix, keep)


REPAIR = """
build()
for path in Path().rglob("*.nbc"):
    path.write_bytes(path.read_bytes()[:20])
print(json.dumps([build(), build()]))
"""


def test_a_truncated_entry_is_replaced(copy: Copy) -> None:
    assert copy.run(REPAIR) == [cold(), WARM]


def test_the_fingerprint_depends_on_every_source_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Copy(tmp_path).realtime
    original = compiled.fingerprint()
    monkeypatch.setattr(compiled, "__file__", str(folder / "compiled.py"))
    assert compiled.fingerprint() == original, "the same text elsewhere is the same"
    seen = {original}
    for path in sorted(folder.glob("*.py")):
        path.write_bytes(path.read_bytes() + b"\n")
        seen.add(compiled.fingerprint())
    assert len(seen) == 1 + len(list(folder.glob("*.py")))
    (folder / "another.py").touch()
    assert compiled.fingerprint() not in seen


@pytest.mark.parametrize("option", ["BOUNDSCHECK", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE"])
def test_the_fingerprint_depends_on_numbas_options(
    option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = compiled.fingerprint()
    monkeypatch.setattr(numba.config, option, "another")
    assert compiled.fingerprint() != original


def test_with_the_compiler_switched_off_the_error_says_so(copy: Copy) -> None:
    program = (
        "from audiostream.engine.stream import load_kernels\n"
        "from audiostream.errors import DeviceError\n"
        "try:\n    load_kernels()\nexcept DeviceError as error:\n    print(error)\n"
    )
    done = copy.process(program, NUMBA_DISABLE_JIT="1")
    assert done.returncode == 0, done.stderr
    assert "NUMBA_DISABLE_JIT" in done.stdout
    assert "unset it" in done.stdout


def test_every_entry_compiles_for_the_types_that_the_engine_hands_over() -> None:
    kernels = compiled.kernels()
    assert compiled.kernels() is kernels, "once a process"
    names = set(compiled._entries("mark"))
    assert names == set(compiled.Kernels.__dataclass_fields__)
    for name in names - {"render", "capture"}:
        signatures = getattr(kernels, name).signatures
        assert len(signatures) == (3 if name in ("put", "spread") else 1), name
