"""Fixtures for all tests."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import audiostream
from tests.tracing import TRACING, untraced

GROUPS = {
    "sound servers": (
        "tests/compat/test_input.py",
        "tests/device/test_names.py",
        "tests/device/test_portaudio.py",
        "tests/device/test_servers_that_die.py",
        "tests/test_end_to_end.py",
    ),
    "real time": (
        "tests/device/test_virtual.py",
        "tests/test_cli.py",
        "tests/test_pages.py",
    ),
    "machine code": (
        "tests/realtime/test_clean.py",
        "tests/realtime/test_compiled.py",
        "tests/realtime/test_kernels.py",
    ),
}
"""Files of which one process runs the tests, one after the other, where several share them
(pytest -n auto): on real servers, on real clocks, and on what is compiled for them."""


SPARE = {"anyio_backend": "trio", "form": "plain"}
"""Variants that a test marked `numbers` runs in once, on its first case."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a quarter of the time, tests wait for devices."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """By group, or else by file, so that what a file shares is made once."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):  # xdist's own groups fail with pytest 9.2
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return next((group for group in GROUPS if path in GROUPS[group]), path)

    return Scheduler(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Coverage measures what importing a module runs, and nothing else of the collection."""
    failures = ImportError, Warning  # raised again by the tests that import such a module
    names = pkgutil.walk_packages(audiostream.__path__, "audiostream.", lambda _name: None)
    for module in names:
        if not module.name.endswith("__main__"):
            with contextlib.suppress(*failures):
                importlib.import_module(module.name)
    with untraced():
        return (yield)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what one case of its kind has shown."""
    seen: set[object] = set()
    spare = [item for item in items if _is_spare(item, seen)]
    if spare:
        config.hook.pytest_deselected(items=spare)
        items[:] = [item for item in items if item not in set(spare)]


def _is_spare(item: pytest.Item, seen: set[object]) -> bool:
    """True for a case beyond the first one that a test runs in a spare variant."""
    if not isinstance(item, pytest.Function) or item.get_closest_marker("numbers") is None:
        return False
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    for parameter, value in SPARE.items():
        if parameters.get(parameter) == value:
            variant = item.path, item.originalname, value
            if variant in seen:
                return True
            seen.add(variant)
    return False


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Every async test runs on both event loops."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _traced_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Coverage measures the first case of each test: it would double the time of the others."""
    if request.node.path.name in NO_CASES:
        with untraced():
            yield
        return
    test = request.node.path, getattr(request.node, "originalname", request.node.name)
    if request.node.path.name in ON_BOTH_LOOPS:
        test = (*test, request.node.name.partition("[")[2].partition("-")[0])
    if test in TRACED and request.node.path.name not in ALL_CASES:
        with untraced():
            yield
    else:
        TRACED.add(test)
        yield


TRACED: set[tuple[Any, ...]] = set()
"""The tests of which a case was measured."""

ALL_CASES = ("test_conformance.py", "test_contract.py", "test_forms.py", "test_soundfiles.py")
"""Files of which each case runs other lines."""

NO_CASES = (
    *("test_arguments.py", "test_cut.py", "test_gapless.py", "test_monitor.py"),
    *("test_pages.py", "test_position.py", "test_project.py"),
)
"""Files whose tests run what others run, too."""

ON_BOTH_LOOPS = ("test_input.py", "test_sample.py", "test_stream.py")
"""Files of which the first case on each event loop is measured."""


@pytest.fixture(scope="session", autouse=True)
def _untraced_children() -> Iterator[None]:
    """Coverage does not measure the processes that tests start, which takes half of their time.

    Most of them run what other tests measure; see `traced_children` for the others.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in TRACING:
            patch.delenv(name)
        yield


@pytest.fixture
def traced_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have coverage measure the processes that a test starts."""
    for name, value in TRACING.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also in a job that a shell has put in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compile the kernels before the first test, for all processes that tests start.

    The first start says on stderr that it compiles, and takes its time; tests that demand
    an empty stderr, or that measure, never meet it, whatever HOME they give to a process.
    """
    if sys.platform == "win32":  # where there are none
        yield
        return
    from audiostream.realtime.compile import cache
    from audiostream.realtime.compile import kernels as compiled

    folder = cache.folder().absolute()
    if not _is_writable(folder):
        folder = tmp_path_factory.mktemp("kernels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.FOLDER, str(folder))
        with untraced():
            compiled.kernels()
        import hypothesis  # noqa: F401 - else later, when it does not find what is frozen

        # Some tests collect garbage again and again: not what all of them stand on.
        gc.collect()
        gc.freeze()
        yield


def _is_writable(folder: Path) -> bool:
    from audiostream.realtime.compile.cache import make

    try:
        make(folder)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
