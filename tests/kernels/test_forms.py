"""What a kernel may do works as in Python; what it may not is refused with its line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audiostream import kernel
from audiostream.errors import KernelError
from tests.kernels.forms import REFUSED, WORK, late, picky
from tests.pages import DOCS

NOISE = np.random.default_rng(3).uniform(-0.9, 0.9, (37, 2)).astype(np.float32)


@pytest.mark.parametrize("function", WORK, ids=lambda f: f.__name__)
def test_this_works_as_in_python(function: Callable[..., Any]) -> None:
    fx = kernel(function)()
    compiled = fx.process(NOISE, 48000, blocks=16)
    if function.__name__ == "division_by_zero":  # Python raises; compiled it is 0
        assert compiled[0, 0] == 0
        return
    plain = fx.process(NOISE, 48000, blocks=16, plain=True)
    assert np.any(compiled != NOISE)
    np.testing.assert_allclose(compiled, plain, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("function", REFUSED, ids=lambda f: f.__name__)
def test_this_is_refused_with_its_line(function: Callable[..., Any]) -> None:
    lines, first = inspect.getsourcelines(function)
    line = first + next(k for k, text in enumerate(lines) if "# <-" in text)
    with pytest.raises(KernelError) as caught:
        kernel(function)().process(NOISE, 48000)
    message = str(caught.value)
    assert f"forms.py:{line}" in message, message
    assert lines[line - first].strip() in message
    assert "; " in message.splitlines()[-1], "what to write instead"


@pytest.mark.skipif(not DOCS.is_dir(), reason="the page is in the source tree")
def test_the_page_has_a_row_for_each_of_these() -> None:
    """In each row stand a part of the function's source, and what becomes of it."""
    text = (DOCS / "kernels.md").read_text(encoding="utf-8")
    table = text.partition("\n## Forms\n")[2]
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in re.findall(r"^\| `.*$", table, re.MULTILINE)
    ]
    known = {
        **{one.__name__: (one, "works") for one in WORK},
        **{one.__name__: (one, "refused") for one in REFUSED},
        "picky": (picky.plain, "refused by the trial"),
        "late": (late.plain, "fails later"),
    }
    assert [name for *_, name in rows] == list(known)
    for form, what, why, instead, name in rows:
        function, becomes = known[name]
        assert what == becomes, name
        assert form in inspect.getsource(function), name
        assert (why and instead) or becomes == "works", name
