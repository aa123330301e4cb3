"""Makes the pictures of own-dsp.md by running that page's code: python docs/pictures.py."""

from __future__ import annotations

import os
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
from PIL import Image

mpl.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
SPEECH = ROOT / "audiostream" / "data" / "speech.wav"
RATE = 48000

BLUE, ORANGE, GREY = "#1f5fa8", "#d9731a", "#999999"


def figure(columns: int = 1, height: float = 2.4) -> Any:
    """A small figure, and its axes."""
    made, axes = plt.subplots(
        1, columns, figsize=(7.0, height), squeeze=False, layout="constrained"
    )
    for one in axes[0]:
        one.grid(color="#dddddd", linewidth=0.6)
        one.spines[["top", "right"]].set_visible(False)
    return made, *axes[0]


def save(made: Any, name: str) -> None:
    """Write a picture, with 64 colours."""
    path = PICTURES / f"{name}.png"
    drawn = BytesIO()
    made.savefig(drawn, dpi=100)
    plt.close(made)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


def decibels(values: Any, floor: float = -120.0) -> np.ndarray:
    """Of a factor."""
    return 20.0 * np.log10(np.maximum(np.abs(values), 10.0 ** (floor / 20.0)))


def milliseconds(values: np.ndarray, rate: int = RATE) -> np.ndarray:
    """The time of each value."""
    return 1000.0 * np.arange(len(values)) / rate


def response_of(impulse: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Hz and dB, of an impulse response."""
    return np.fft.rfftfreq(len(impulse), 1 / rate), decibels(np.fft.rfft(impulse))


def octaves(axes: Any) -> None:
    """A logarithmic axis of frequency."""
    axes.set_xscale("log")
    axes.set_xlim(20, 20_000)
    axes.set_xticks([20, 100, 1000, 10_000], ["20", "100", "1k", "10k"])
    axes.set_xlabel("frequency (Hz)")
    axes.set_ylabel("gain (dB)")


def sine(page: Any) -> None:
    made, axes = figure(height=2.0)
    axes.plot(milliseconds(page.wave), page.wave[:, 0], color=BLUE)
    axes.set(xlabel="time (ms)", ylabel="value", ylim=(-0.6, 0.6), xlim=(0, 10))
    save(made, "sine")


def moves(page: Any) -> None:
    made, axes = figure()
    axes.plot(milliseconds(page.moves), page.moves[:, 0], color=BLUE, linewidth=1.0)
    for at, text in ((20, "20 ms ramp"), (60, "step"), (80, "exponential, 30 ms")):
        axes.axvline(at, color=ORANGE, linewidth=1.0)
        axes.text(at + 1, 0.95, text, color=ORANGE, fontsize=9)
    axes.set(xlabel="time (ms)", ylabel="value", ylim=(-1.1, 1.15), xlim=(0, 120))
    save(made, "moves")


def lowpass(page: Any) -> None:
    hertz, gain = response_of(page.impulse_response[:, 0], RATE)
    made, axes = figure()
    axes.plot(hertz[1:], gain[1:], color=BLUE)
    axes.axhline(-3, color=GREY, linewidth=0.8, linestyle="--")
    axes.axvline(1000, color=GREY, linewidth=0.8, linestyle="--")
    octaves(axes)
    axes.set_ylim(-30, 3)
    save(made, "lowpass")


def echo(page: Any) -> None:
    made, axes = figure(height=2.0)
    axes.plot(milliseconds(page.echoes) / 1000, page.echoes[:, 0], color=BLUE)
    axes.set(xlabel="time (s)", ylabel="value", xlim=(-0.02, 1.0), ylim=(0, 1.05))
    save(made, "echo")


def envelope(page: Any) -> None:
    made, axes = figure()
    time = milliseconds(page.note) / 1000
    axes.plot(time, page.note[:, 0], color=BLUE, linewidth=0.4)
    gate = ((time >= 0.05) & (time < 0.4)).astype(float)
    axes.plot(time, gate, color=ORANGE, linewidth=1.2, label="gate")
    axes.plot([], [], color=BLUE, label="sound")
    axes.legend(frameon=False, loc="upper right")
    axes.set(xlabel="time (s)", ylabel="value", xlim=(0, 1), ylim=(-1.1, 1.15))
    save(made, "envelope")


def saw(page: Any) -> None:
    """The saw of the page without its filter, beside one without PolyBLEP."""
    hertz, frames = 2930.0, RATE
    phase = (hertz / RATE * np.arange(frames)) % 1.0
    naive = 2.0 * phase - 1.0
    rounded = naive - [page.jump(p, hertz / RATE) for p in phase]
    made, left, right = figure(2)
    window = np.hanning(frames)
    for axes, wave, title in ((left, naive, "as it is"), (right, rounded, "with PolyBLEP")):
        levels = decibels(np.fft.rfft(wave * window) * 4.0 / frames)
        axes.plot(np.arange(len(levels)) / 1000, levels, color=BLUE, linewidth=0.8)
        axes.set(
            xlabel="frequency (kHz)",
            ylabel="level (dB)",
            xlim=(0, 24),
            ylim=(-80, 3),
            title=title,
        )
    save(made, "saw")


def synthesizer(page: Any) -> None:
    song = page.song[:, 0]
    made, left, right = figure(2)
    left.plot(milliseconds(song) / 1000, song, color=BLUE, linewidth=0.3)
    left.set(xlabel="time (s)", ylabel="value", xlim=(0, 2.2))
    right.specgram(
        song + 1e-9, NFFT=2048, Fs=RATE, noverlap=1536, scale="dB", cmap="magma", vmin=-110
    )
    right.grid(visible=False)
    right.set(xlabel="time (s)", ylabel="frequency (Hz)", xlim=(0, 2.2), ylim=(0, 4000))
    save(made, "synthesizer")


def microphone(page: Any) -> None:
    import soundfile

    speech = soundfile.read(SPEECH, dtype="float32")[0][: len(page.heard)]
    click = np.zeros((1 << 15, 1), np.float32)
    click[0] = 1.0
    impulse = page.bell(frequency=3000.0, gain_db=9.0).process(click, RATE)
    made, left, right = figure(2)
    hertz, gain = response_of(impulse[:, 0], RATE)
    left.plot(hertz[1:], gain[1:], color=BLUE)
    octaves(left)
    left.set_ylim(-3, 12)
    for wave, color, label in ((speech, GREY, "before"), (page.heard, BLUE, "after")):
        squares = np.mean(np.square(wave.reshape(-1, 160)), axis=1)
        levels = decibels(np.sqrt(squares), -90.0)
        right.plot(np.arange(len(levels)) / 100, levels, color=color, label=label)
    right.legend(frameon=False, loc="lower right", fontsize=9)
    right.set(xlabel="time (s)", ylabel="level of 10 ms (dB)", xlim=(0, 1), ylim=(-95, 0))
    save(made, "microphone")


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from tests.pages import run_page

    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AUDIOSTREAM_INPUT"] = f"file:{SPEECH}"
        os.environ["AUDIOSTREAM_OUTPUT"] = "null"
        page = SimpleNamespace(**run_page("own-dsp.md", Path(folder)))
    for make in (sine, moves, lowpass, echo, envelope, saw, synthesizer, microphone):
        make(page)


if __name__ == "__main__":
    main()
