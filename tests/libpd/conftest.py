"""Every kind of libpd in turn."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from audiostream.libpd import Patch
from audiostream.libpd.backends import Backends
from tests.libpd.support import PATCHES, backends, here

Open = Callable[..., Patch]


@pytest.fixture(scope="session", params=here())
def _kind(request: pytest.FixtureRequest) -> tuple[Backends, str, types.ModuleType | None]:
    return backends(request.param)


@pytest.fixture
def libpd(
    _kind: tuple[Backends, str, types.ModuleType | None], monkeypatch: pytest.MonkeyPatch
) -> str:
    """The name of a backend that patches are played on."""
    found, name, module = _kind
    monkeypatch.setattr("audiostream.libpd.patch.BACKENDS", found)
    if module is not None:
        monkeypatch.setitem(sys.modules, "pylibpd", module)
    return name


@pytest.fixture
def open_patch(libpd: str) -> Iterator[Open]:
    """Open a patch of this folder, or one named by its path; all are closed in the end."""
    patches = []

    def open_patch(name: str | Path, **options: object) -> Patch:
        path = PATCHES / f"{name}.pd" if isinstance(name, str) else name
        patch = Patch(path, carrier=libpd, **options)  # type: ignore[arg-type]
        patches.append(patch)
        return patch

    yield open_patch
    for patch in patches:
        patch.close()
