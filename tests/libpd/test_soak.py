"""A thousand patches opened and closed in a process of their own, bad ones among them."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from audiostream.errors import PatchError
from audiostream.libpd import Patch, patch
from tests.libpd import support
from tests.libpd.support import PATCHES, here

ROOT = Path(__file__).resolve().parents[2]

TIMES = 1000
GROWTH = 24 << 20
"""Bytes that the process may grow by after the first tenth."""


def prepare(kind: str) -> str:
    """Have patches played on that kind of libpd, quietly; return the backend's name."""
    backends, name, module = support.backends(kind)
    patch.BACKENDS = backends  # type: ignore[attr-defined]
    if module is not None:
        sys.modules["pylibpd"] = module
    warnings.simplefilter("ignore")
    logging.disable()
    return name


def memory() -> int:
    """Return the process's memory in bytes: what it has now, or where unknown its most."""
    statistics = Path("/proc/self/statm")
    if statistics.exists():
        return int(statistics.read_text(encoding="ascii").split()[1]) * os.sysconf(
            "SC_PAGESIZE"
        )
    import resource  # on Linux it would begin with the parent's

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def damaged(folder: Path, name: str) -> None:
    """Open every patch with each of its statements left out, doubled or cut short in turn."""
    opened = refused = 0
    for original in sorted(PATCHES.glob("*.pd")):
        statements = original.read_bytes().split(b";\n")
        variants = []
        for at, statement in enumerate(statements):
            words = statement.split()
            variants += [
                [*statements[:at], b" ".join(words[:length]), *statements[at + 1 :]]
                for length in range(len(words))
            ]
            variants += [statements[:at] + statements[at + 1 :]]
            variants += [[*statements[:at], statement, *statements[at:]]]
        for variant in variants:
            path = folder / "damaged.pd"
            path.write_bytes(b";\n".join(variant))
            try:
                with Patch(path, carrier=name) as played:
                    played.send("in", 1)
                    played.process(200)
                opened += 1
            except PatchError:
                refused += 1
    print(f"{opened} opened, {refused} refused")
    assert opened > 500
    assert refused > 20


def soak(folder: Path, name: str) -> None:
    """Open and close a thousand patches, every other one bad."""
    good = sorted(PATCHES.glob("*.pd"))
    whole = (PATCHES / "talk.pd").read_bytes()
    bad = [folder / "gone.pd", folder]
    for length in range(0, len(whole), 37):
        bad.append(folder / f"cut{length}.pd")
        bad[-1].write_bytes(whole[:length])
    bad.append(folder / "junk.pd")
    bad[-1].write_bytes(b"#N canvas 0 0 1 1 12;\n" + bytes(range(256)) * 20)
    bad.append(folder / "wild.pd")
    bad[-1].write_bytes(
        b"#N canvas 0 0 1 1 12;\n#X obj;\n#X connect 0 0 9 9;\n#X restore 1 1;\n#N;\n"
    )
    real_check = patch.check
    opened = refused = size = 0
    for number in range(TIMES):
        path = bad[number // 2 % len(bad)] if number % 2 else good[number // 2 % len(good)]
        if number % 40 == 39:  # let libpd itself meet a file that is not there
            patch.check = lambda path: path  # type: ignore[attr-defined]
            path = folder / "gone.pd"
        try:
            played = Patch(path, channels=1 + number % 4, inputs=number % 3, carrier=name)
        except PatchError:
            refused += 1
        else:
            opened += 1
            queue = played.messages("out")
            played.send("in", number)
            played.process(200)
            if path in good:
                assert len(queue) == (path.name == "talk.pd")
            if number % 5:
                played.close()
            elif number % 10:  # dropped
                queue.notify = played.close  # in a circle
            del played, queue
            if name == "pylibpd" and number % 5 == 0:
                gc.collect()  # else it still has the patch that was dropped
        finally:
            patch.check = real_check  # type: ignore[attr-defined]
        if number == TIMES // 10:
            gc.collect()
            size = memory()
    gc.collect()
    grown = memory() - size
    print(f"{opened} opened, {refused} refused, grew by {grown} bytes")
    assert opened + refused == TIMES
    assert 500 < opened < 950, opened
    assert grown < GROWTH, grown


@pytest.mark.skipif(sys.platform == "win32", reason="measures memory the POSIX way")
@pytest.mark.parametrize("kind", here())
@pytest.mark.parametrize("what", ["soak", "damaged"])
def test_no_crash_hang_or_leak(kind: str, what: str, tmp_path: Path) -> None:
    module = "tests.libpd.test_soak"
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", module, kind, tmp_path, what],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)


if __name__ == "__main__":
    {"soak": soak, "damaged": damaged}[sys.argv[3]](Path(sys.argv[2]), prepare(sys.argv[1]))
