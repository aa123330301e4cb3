"""The kernels' LLVM code that is shipped is what numba makes of the sources that are here."""

from __future__ import annotations

import lzma
import os
import subprocess
import sys
from pathlib import Path

import pytest

from audiostream.realtime import compiled, shipped
from audiostream.realtime.compiled import NAMES


def test_it_is_of_these_very_sources() -> None:
    content = shipped.FILE.read_bytes()
    assert content[: shipped.SIZE] == shipped.sources(), "run ./dev kernels, and commit that"
    module = shipped.translated()
    assert set(NAMES) <= {function.name for function in module.functions}


def test_it_is_what_numba_makes_of_them(tmp_path: Path) -> None:
    file = tmp_path / "anew.xz"
    command = [sys.executable, "-W", "error", "-m", "audiostream.realtime.shipped", str(file)]
    subprocess.run(command, check=True, timeout=100, env={**os.environ, "PYTHONHASHSEED": "0"})
    anew, here = (
        lzma.decompress(path.read_bytes()[shipped.SIZE :]) for path in (file, shipped.FILE)
    )
    assert anew.count(b"\ndefine ") == here.count(b"\ndefine ")
    if anew.split(b"\n")[0] == here.split(b"\n")[0]:  # by the same numba on the same Python
        assert anew == here, "run ./dev kernels, and commit that"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 100,
        shipped.sources() + b"no archive",
        shipped.sources() + lzma.compress(b"define no LLVM"),
    ],
)
def test_another_one_is_not_taken(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "kernels.ll.xz"
    assert shipped.translated(file) is None, "there is none"
    file.write_bytes(content)
    assert shipped.translated(file) is None


def test_without_it_numba_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def optimised(part: str) -> None:
        asked.append(part)
        raise LookupError

    monkeypatch.setattr(compiled, "translated", lambda: None)
    monkeypatch.setattr(compiled, "optimised", optimised)
    with pytest.raises(LookupError):
        compiled.compile_kernels()
    assert asked == [compiled.SHORT_WAY]
