"""Every example, run as a program on virtual devices; what it plays is analysed."""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.test_cli import ROOT, SPEECH, run, spectrum, speech_at

EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="the examples are in the source tree, not in the package"
)


def example(name: str, *arguments: str, cwd: Path, **variables: str) -> str:
    """Run an example; returns what it printed."""
    command = (sys.executable, "-W", "error", str(EXAMPLES / name), *arguments)
    return run(*command, cwd=cwd, **variables).stdout


def heard(path: Path) -> tuple[np.ndarray, int]:
    """A file as mono, and its rate."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return audio.mean(axis=1), rate


def best_match(part: np.ndarray, wave: np.ndarray) -> tuple[float, int]:
    """How like a part the stretch of a wave most like it is (1: the same), and its frame."""
    size = len(wave) + len(part)
    products = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(part, size).conj(), size)
    squares = np.concatenate(([0.0], np.cumsum(np.square(wave, dtype=np.float64))))
    power = squares[len(part) :] - squares[: -len(part)]
    likeness = products[: len(power)] / np.sqrt((power + 1e-6) * np.sum(np.square(part)))
    best = int(likeness.argmax())
    return float(likeness[best]), best


def test_every_example_has_its_test_and_its_line() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    tests = Path(__file__).read_text(encoding="utf-8")
    for name in names:
        assert f"[{name}]({name})" in readme
        assert f'example("{name}"' in tests.replace("(\n        ", "(")


def test_echo(anyio_backend: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "said.wav", speech_at(16000, 1.2), 16000)
    example(
        "echo.py",
        anyio_backend,
        cwd=tmp_path,
        AUDIOSTREAM_INPUT="file:said.wav",
        AUDIOSTREAM_OUTPUT="file:heard.wav",
    )
    played, rate = heard(tmp_path / "heard.wav")
    assert rate == 48000
    # The voice starts with nothing in hand, so a chunk that comes late leaves a gap and
    # moves all that follows: tenths of a second are looked for one by one, and the few
    # with a gap inside do not count.
    tenths = speech_at(rate, 1.2).reshape(12, -1)
    matches = [best_match(tenth, played) for tenth in tenths if np.abs(tenth).max() > 0.05]
    found = [frame for likeness, frame in matches if likeness > 0.97]
    assert len(found) > len(matches) / 2
    assert found == sorted(found)


def test_play_tone(tmp_path: Path) -> None:
    example("play_tone_asyncio.py", "0.5", cwd=tmp_path, AUDIOSTREAM_OUTPUT="file:heard.wav")
    played, rate = heard(tmp_path / "heard.wav")
    assert np.count_nonzero(played) >= 0.45 * rate
    hertz, magnitudes = spectrum(played, rate)
    loudest = hertz[magnitudes.argmax()]
    other = hertz[np.where(np.abs(hertz - loudest) > 50, magnitudes, 0).argmax()]
    assert sorted((loudest, other)) == pytest.approx([440, 660], abs=3)


def test_blocking_write(tmp_path: Path) -> None:
    example("blocking_write.py", "0.15", cwd=tmp_path, AUDIOSTREAM_OUTPUT="file:heard.wav")
    played, rate = heard(tmp_path / "heard.wav")
    assert rate == 22050
    notes: list[int] = []
    scale = np.array((262, 294, 330, 349, 392, 440, 494, 523))
    for start in range(0, len(played) - 1024, 512):
        block = played[start : start + 1024]
        if np.abs(block).max() < 0.1:
            continue
        hertz, magnitudes = spectrum(block, rate)
        note = int(scale[np.abs(scale - hertz[magnitudes.argmax()]).argmin()])
        if note not in notes:
            notes.append(note)
    assert notes == scale.tolist()


def test_record_poll(tmp_path: Path) -> None:
    said = example(
        "record_poll.py", "r.wav", "0.6", cwd=tmp_path, AUDIOSTREAM_INPUT=f"file:{SPEECH}"
    )
    with wave.open(str(tmp_path / "r.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        recorded = file.readframes(file.getnframes())
    assert said == f"r.wav: {len(recorded) / 32000:.2f} s\n"
    assert len(recorded) / 32000 == pytest.approx(0.6, abs=0.02)
    with wave.open(str(SPEECH)) as file:
        assert recorded == file.readframes(len(recorded) // 2)


def test_devices(tmp_path: Path) -> None:
    lines = example("devices.py", cwd=tmp_path).splitlines()
    assert "device='default'" in lines
    assert "source='default'" in lines
