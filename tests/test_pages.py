"""The blocks of the pages on effects run, and do what the pages say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from audiostream.kernels.contract import RESERVED
from tests.pages import DOCS, run_page
from tests.test_cli import SPEECH

pytestmark = pytest.mark.skipif(
    not DOCS.is_dir(), reason="the pages are in the source tree, not in the package"
)


@pytest.fixture
def on_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Devices that are files; the folder that they are in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUDIOSTREAM_INPUT", f"file:{SPEECH}")
    monkeypatch.setenv("AUDIOSTREAM_OUTPUT", "file:heard.wav")
    return tmp_path


def gain_at(impulse: np.ndarray, hertz: int) -> float:
    """The gain in dB at a frequency, of an impulse response of a second at 48 kHz."""
    return float(20 * np.log10(np.abs(np.fft.rfft(impulse)[hertz])))


def partial(wave: np.ndarray, hertz: float, rate: int = 48000) -> float:
    """The amplitude of a partial."""
    index = np.arange(len(wave))
    window = np.hanning(len(wave))
    turned = np.exp(-2j * np.pi * hertz / rate * index)
    return float(2 * np.abs((wave * window * turned).sum()) / window.sum())


def test_own_dsp(on_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page: Any = SimpleNamespace(**run_page("own-dsp.md", on_files))
    assert capsys.readouterr().out.startswith("(480, 1) 0.4999")
    index = np.arange(480)
    wanted = 0.5 * np.sin(2 * np.pi * 440 / 48000 * index)
    np.testing.assert_allclose(page.wave[:, 0], wanted, atol=1e-6)

    left, right = page.stereo.T
    assert partial(left[24000:], 220) > 100 * partial(left[24000:], 330)
    assert partial(right[24000:], 330) > 100 * partial(right[24000:], 220)
    assert not right[:12000].any()

    peaks = np.abs(page.moves[:, 0]).reshape(-1, 120).max(axis=1)  # a period of 400 Hz
    np.testing.assert_allclose(peaks[:7], 0.2, atol=1e-3)
    np.testing.assert_allclose(peaks[16:23], 0.8, atol=1e-3)
    np.testing.assert_allclose(peaks[24:31], 0.2, atol=1e-3)
    np.testing.assert_allclose(peaks[44:], 0.8, atol=1e-3)

    assert np.abs(page.shaken[:200]).max() > 0.48
    assert np.abs(page.shaken[3900:4100]).max() < 0.21  # half a period of 6 Hz

    impulse = page.impulse_response[:, 0]
    assert gain_at(impulse, 1000) == pytest.approx(-3, abs=0.3)
    assert gain_at(impulse, 4000) - gain_at(impulse, 8000) == pytest.approx(6, abs=1)

    (places,) = np.nonzero(page.echoes[:, 0])
    assert places.tolist() == [0, 9600, 19200, 28800, 38400]
    np.testing.assert_allclose(page.echoes[places[1:], 0], 0.6 ** np.arange(4), rtol=1e-6)

    heights = np.abs(page.note[:, 0]).reshape(-1, 480).max(axis=1)  # of 10 ms
    assert not heights[:5].any()
    assert heights[5:8].max() == pytest.approx(1.0, abs=0.02)
    assert heights[39] == pytest.approx(0.5, abs=0.05)
    assert heights[50] / heights[40] == pytest.approx(np.exp(-1), abs=0.02)

    frequencies = (110, 220, 164.8, 196, 110)  # of the notes, from the second on
    for start, hertz in zip((0.25, 0.45, 0.65, 0.90, 1.25), frequencies, strict=True):
        part = page.song[round(48000 * start) : round(48000 * (start + 0.1)), 0]
        others = [partial(part, f) for f in (123, 139, 180, 247)]
        assert partial(part, hertz) > 2 * max(others), hertz
    assert 0.1 < np.abs(page.song).max() < 1

    assert len(page.heard) == 16000
    said = soundfile.read(SPEECH, dtype="float32")[0][:16000]
    loud = slice(11200, 12000)
    assert np.std(page.heard[loud]) > np.std(said[loud]), "3 kHz is louder"
    quiet = slice(7400, 7800)
    assert 0 < np.std(page.heard[quiet]) < 0.3 * np.std(said[quiet]), "the gate is closed"
    played, rate = soundfile.read(on_files / "heard.wav")  # the last of two
    assert rate == 48000
    assert played.any()

    drawn = on_files / "drawn"
    drawn.mkdir()
    runpy.run_path(str(DOCS / "pictures.py"))["draw_all"](page, drawn)
    names = {path.name for path in drawn.iterdir()}
    assert names == {path.name for path in (DOCS / "pictures").iterdir()}


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_pictures_are_small_and_shown(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text):
        assert (DOCS / name).stat().st_size < 60_000
    if page.name == "own-dsp.md":
        shown = set(re.findall(r"\(pictures/([^)]+)\)", text))
        assert shown == {path.name for path in (DOCS / "pictures").iterdir()}


def test_everyday(on_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page: Any = SimpleNamespace(**run_page("everyday.md", on_files))
    said, _ = soundfile.read(SPEECH, dtype="float32")
    assert page.take.shape == (48000, 1)
    np.testing.assert_allclose(np.abs(page.take).max(), np.abs(said[:16000]).max(), rtol=0.1)
    assert soundfile.info("take.flac").frames == 48000
    assert page.playing.is_finished
    assert capsys.readouterr().out.startswith("(4800, 1) ")
    assert page.heard.max() == 1.0


def test_effects(on_files: Path) -> None:
    page: Any = SimpleNamespace(**run_page("effects.md", on_files))
    before = np.abs(np.fft.rfft(page.noise))
    after = np.abs(np.fft.rfft(page.band[:, 0]))
    ratio = [after[a:b].mean() / before[a:b].mean() for a, b in ((20, 60), (700, 900))]
    assert ratio[0] < 0.05
    assert ratio[1] > 0.9
    assert after[12000:].mean() < 0.05 * before[12000:].mean()

    dull, bright = page.swept[2400:9600, 0], page.swept[40000:47200, 0]
    assert partial(bright, 4400) > 5 * partial(dull, 4400)

    (places,) = np.nonzero(np.abs(page.tail[:, 0]) > 1e-6)
    assert {9600, 19200, 28800, 38400} <= set(places.tolist())

    assert partial(page.chord[4800:19200, 0], 220) > 5 * partial(page.chord[4800:19200, 1], 220)
    assert np.abs(page.chord[26400:30000]).max() > 0.001, "echoes after the stop"

    assert not page.wailing[:4800].any()
    assert partial(page.wailing[4800:6000, 0], 460) > partial(page.wailing[4800:6000, 0], 870)
    assert partial(page.wailing[24000:28000, 0], 880) > 0.05
    assert not page.wailing[43400:].any()

    assert page.recorded.shape == (8000,)
    written, rate = soundfile.read(on_files / "chord.flac")
    assert (len(written), rate) == (96000, 48000)
    np.testing.assert_allclose(written[:48000], page.chord, atol=1e-6)
    assert np.std(page.softer) < 0.8 * np.std(page.noise)
    played, _ = soundfile.read(on_files / "heard.wav")  # of the crowd
    assert 0.9 < np.abs(played).max() <= 10 ** (-0.3 / 20) + 1e-4


def test_kernels(on_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page: Any = SimpleNamespace(**run_page("kernels.md", on_files))
    lines = capsys.readouterr().out.splitlines()
    assert re.search(r"NaN or an infinity.*in its trial, with silence, amount=0\)$", lines[0])
    first = page.repeated[2400:4800] - page.noise[2400:]
    np.testing.assert_allclose(first, 0.5 * page.noise[:2400], atol=1e-6)
    assert float(page.compiled) == pytest.approx(1e6 * (3 * float(np.float32(0.1)) - 0.3))
    assert page.plain != page.compiled
    assert lines[1].split()[0] == "0.0044703484"
    asleep, awake = (float(number) for number in lines[2].split())
    assert asleep < 0.1
    assert awake > 0.99


def test_kernels_page_lists_the_names_that_are_taken() -> None:
    text = (DOCS / "kernels.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"### Names that are taken\n(.*?)\n## ", text, re.DOTALL)
    assert set(re.findall(r"`(\w\w+)`", section)) == RESERVED


def test_readme(on_files: Path) -> None:
    run_page("../README.md", on_files, only="kernel(")
    written, rate = soundfile.read(on_files / "drone.wav")
    assert (len(written), rate) == (96000, 48000)
    assert np.abs(written).max() == pytest.approx(0.5, abs=1e-4)
    assert np.mean(np.abs(written[:, 0]) > 0.49) > 0.8, "it is clipped"
