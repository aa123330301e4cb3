"""What all kernels of the set have in common."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiostream import dsp
from tests.dsp.support import RATE, noise, run

ROOT = Path(__file__).resolve().parents[2]

GENERATORS = ("noise", "pink", "saw", "sine", "square", "triangle")
EFFECTS = tuple(name for name in dsp.__all__ if name not in GENERATORS)

BUSY: dict[str, dict[str, Any]] = {
    "adsr": {"attack": 0.002, "decay": 0.003, "release": 0.004},
    "compressor": {"attack": 0.001, "release": 0.003},
    "delay": {"seconds": 0.0013, "feedback": 0.7},
    "gate": {"threshold_db": -3.0, "hold": 0.0001, "release": 0.001},
    "highshelf": {"gain_db": 9.0},
    "limiter": {"ceiling_db": -6.0, "lookahead": 0.001},
    "lowshelf": {"gain_db": 9.0},
    "noise": {"seed": 3},
    "peaking": {"gain_db": -9.0},
    "pink": {"seed": 3},
    "svf": {"resonance": 0.8, "band": 0.5, "high": 0.2},
}
"""Values with which a kernel has something to do in 600 frames."""


def made(name: str) -> Any:
    return getattr(dsp, name)(**BUSY.get(name, {}))


def moving(name: str, frames: int) -> dict[str, np.ndarray]:
    """Values that move in each frame, of a parameter that is an array."""
    up = np.linspace(0.0, 1.0, frames)
    if name in ("saw", "sine", "square", "triangle"):
        return {"frequency": 200.0 + 3000.0 * up}
    return {
        "adsr": {"gate": (up % 0.4 < 0.3).astype(float), "sustain": up},
        "compressor": {"threshold_db": -30.0 * up, "ratio": 2.0 + up},
        "delay": {"seconds": 0.001 + 0.001 * up},
        "noise": {"level": up},
        "pink": {"level": up},
        "svf": {"cutoff": 100.0 + 9000.0 * up},
    }.get(name, {})


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "compiled"])
@pytest.mark.parametrize("name", dsp.__all__)
def test_blocks_do_not_matter(name: str, plain: bool) -> None:
    frames = 1100
    given = noise(frames, 2)
    moves = moving(name, frames)
    first = run(made(name), given, plain=plain, blocks=(1024,), **moves)
    assert (first != given).any()
    for blocks in ((1,), (7,), (64,), (1, 300, 13)):
        again = run(made(name), given, plain=plain, blocks=blocks, **moves)
        assert (again == first).all()


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("name", dsp.__all__)
def test_compiled_form_is_the_plain_one(name: str, channels: int) -> None:
    given = noise(600, channels)
    compiled = run(made(name), given, **moving(name, 600))
    plain = run(made(name), given, plain=True, **moving(name, 600))
    np.testing.assert_allclose(compiled, plain, atol=2e-6)


@pytest.mark.parametrize("name", dsp.__all__)
def test_process_runs_both_forms(name: str) -> None:
    given = noise(300, 2)
    np.testing.assert_allclose(
        made(name).process(given, RATE), made(name).process(given, RATE, plain=True), atol=2e-6
    )


@pytest.mark.parametrize("rate", [8000, 96000])
@pytest.mark.parametrize("name", dsp.__all__)
def test_rates(name: str, rate: int) -> None:
    """What it does in seconds and Hz does not depend on the rate, and nothing breaks."""
    values = run(made(name), noise(4000, 2), rate, **moving(name, 4000))
    assert np.isfinite(values).all()
    assert 1e-4 < np.abs(values).max() < 20.0


@pytest.mark.parametrize("name", sorted({*EFFECTS} - {"compressor", "gate", "limiter"}))
def test_channels_do_not_mix(name: str) -> None:
    given = noise(500, 6)
    together = run(made(name), given)
    for c in range(6):
        np.testing.assert_allclose(together[:, [c]], run(made(name), given[:, c]), atol=1e-6)


@pytest.mark.parametrize("name", ["saw", "sine", "square", "triangle"])
def test_oscillators_play_the_same_on_all_channels(name: str) -> None:
    values = run(made(name), np.zeros((500, 6)))
    assert (values == values[:, :1]).all()


@pytest.mark.parametrize("name", EFFECTS)
def test_silence_after_sound_becomes_silence(name: str) -> None:
    given = noise(3 * RATE, 1)
    given[4800:] = 0.0
    values = run(made(name), given, blocks=(1024,))
    assert np.isfinite(values).all()
    assert np.abs(values[-RATE:]).max() < 1e-12


@pytest.mark.parametrize("name", EFFECTS)
def test_denormal_input_stays_finite(name: str) -> None:
    values = run(made(name), np.full(2000, 1e-42), plain=True)
    assert np.abs(values).max() < 1e-38


@pytest.mark.parametrize("name", dsp.__all__)
def test_page_lists_each_kernel_and_parameter(name: str) -> None:
    text = (ROOT / "docs" / "dsp.md").read_text(encoding="utf-8")
    (entry,) = re.findall(rf"^\| `{name}` \|.*$", text, flags=re.MULTILINE)
    kernel = getattr(dsp, name)
    for parameter, default in kernel.parameters.items():
        assert re.search(rf"`{parameter}` [^;|]*, {round(default, 3):g}(;| \|)", entry)
        line = rf"^ *(\w+, )*{parameter}(, \w+)* : "
        assert re.search(line, kernel.plain.__doc__, flags=re.MULTILINE)


def test_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "dsp.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(example, {})
    response = complex(capsys.readouterr().out.strip("[]\n "))
    assert abs(response) == pytest.approx(0.5**0.5)


def test_names() -> None:
    assert sorted(dsp.__all__) == list(dsp.__all__)
    assert set(dsp.__all__) <= set(dir(dsp))
    with pytest.raises(AttributeError, match="reverb"):
        _ = dsp.reverb


def test_import_loads_neither_numba_nor_numpy(tmp_path: Path) -> None:
    code = (
        "import sys, audiostream.dsp\n"
        "print(sorted({'numba', 'llvmlite', 'numpy'} & set(sys.modules)))\n"
        "audiostream.dsp.lowpass(frequency=500)\n"
        "print(sorted({'numba'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=100,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n[]\n", "")
