"""Locks in a forked child: made again, all of them."""

from __future__ import annotations

import ast
import gc
import os
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

import audiostream
from audiostream.errors import PatchClosedError
from audiostream.forks import Locks
from audiostream.libpd import Patch
from audiostream.libpd.hooks import lock_in_child
from tests.libpd.support import PATCHES

PACKAGE = Path(audiostream.__file__).parent

LOCKS = ("Lock", "RLock", "Condition", "Semaphore")

BY_THEMSELVES = {
    "device/portaudio/host.py": "looks at `forked` before it takes any",
    "device/portaudio/device.py": "so does this, by its host",
    "device/wavfile.py": "a new table of the files that are written",
    "device/virtual.py": "a new table of loopbacks; clocks are the parent's streams'",
    "engine/watchdog.py": "its own after_in_child",
    "aio/background.py": "its own after_in_child",
}


class Owner:
    """Compares, and so cannot be hashed, as a user's subclass might."""

    def __init__(self, locks: Locks) -> None:
        self.one = threading.Lock()
        self.other = threading.RLock()
        locks.add(self, one=threading.Lock)
        locks.add(self, other=threading.RLock)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Owner)

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch) -> Locks:
    """One that no fork knows of."""
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
    return Locks()


def test_locks_are_made_again_while_their_owner_lives(locks: Locks) -> None:
    owners = [Owner(locks) for _ in range(3)]
    owners[0].one.acquire()
    threading.Thread(target=owners[0].other.acquire).start()
    before = owners[0].one
    locks.renew()
    for owner in owners:
        assert owner.one is not before
        assert owner.one.acquire(blocking=False)
        assert owner.other.acquire(blocking=False)
    del owner, owners
    gc.collect()
    locks.renew()
    assert locks._owners == {}


def test_they_are_made_again_by_every_fork() -> None:
    owner: Any = Owner(audiostream.forks.LOCKS)
    held = threading.Thread(target=owner.one.acquire)
    held.start()
    held.join()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: there are threads
        child = os.fork()
    if child == 0:
        os._exit(0 if owner.one.acquire(timeout=5) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not owner.one.acquire(blocking=False)  # the parent's is as it was


def assigned_locks(path: Path) -> set[str]:
    """Names of the attributes that a module sets to locks."""
    return {
        target.attr
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Attribute)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr in LOCKS
        and ast.unparse(node.value.func.value) == "threading"
    }


def registered_locks(path: Path) -> set[str]:
    """Names of the attributes that a module has a child make again."""
    return {
        str(keyword.arg)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "LOCKS.add"
        for keyword in node.keywords
    }


def test_no_lock_of_ours_is_forgotten() -> None:
    forgotten = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).as_posix() not in BY_THEMSELVES
        for name in assigned_locks(path) - registered_locks(path)
    }
    assert forgotten == set(), "have LOCKS.add() make it again in a forked child"
    assert assigned_locks(PACKAGE / "engine/stream.py") == {"lock", "_control", "_queue_lock"}


# ------------------------------------------------------------------------------------ libpd


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_an_engine_that_was_computing_is_lost_and_another_is_not(make: Any) -> None:
    lock = make()
    assert lock_in_child(lock) is lock
    holder = threading.Thread(target=lock.acquire)
    holder.start()
    holder.join()
    with pytest.raises(PatchClosedError, match="open the patch again"), lock_in_child(lock):
        pytest.fail("it was entered")


def test_a_patch_whose_engine_is_lost_is_closed_without_a_word() -> None:
    patch = Patch(PATCHES / "sine.pd", carrier="cypd")
    engine = patch._session.hold.engine
    free = engine.lock
    held = threading.Lock()
    held.acquire()
    engine.lock = lock_in_child(held)
    try:
        with pytest.raises(PatchClosedError, match="forked"):
            patch.process(64)
        patch.close()
        patch.close()
        assert patch.closed
        assert engine not in patch._session.hold.backend._idle  # type: ignore[attr-defined]
    finally:
        engine.lock = free
        patch._session.hold.closed = False
        patch.close()
