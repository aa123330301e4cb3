"""The kernels as numba has translated them, shipped with the package; any thread.

What numba does takes most of a first start, and comes out the same on every machine of a
platform: LLVM code that is not optimised yet.  It lies beside the sources that it was made of,
whose fingerprint it begins with, and is only taken if they are the ones that are here.  After a
change to a kernel ``./dev kernels`` makes it anew; a test sees to that.
"""

from __future__ import annotations

import hashlib
import lzma
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

__all__ = ("FILE", "sources", "translated", "write")

FILE = Path(__file__).with_name("kernels.ll.xz")

SIZE = 32
"""Bytes of a fingerprint."""


def sources() -> bytes:
    """Fingerprint of the kernels' sources, and of the platform whose constants they have."""
    digest = hashlib.sha256(sys.platform.encode())
    for path in sorted(FILE.parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.digest()


def translated(file: Path = FILE) -> Any:
    """The LLVM module of all kernels; None if it is of other sources or for another LLVM."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    if content[:SIZE] != sources():
        return None
    try:
        return llvm.parse_assembly(lzma.decompress(content[SIZE:]).decode())
    except (lzma.LZMAError, RuntimeError):
        return None


def write(file: Path = FILE) -> None:
    """Have numba translate the kernels, and keep that in the file.

    In a process of its own, with PYTHONHASHSEED=0, it is the same every time: numba numbers
    what it compiles, and goes through sets.
    """
    import numba

    from audiostream.realtime.translate import translate

    text = f"; numba {numba.__version__}, Python {sys.version.split()[0]}\n{translate()}"
    file.write_bytes(sources() + lzma.compress(text.encode(), preset=9))


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))
