"""Resampling to 48 kHz: speed, delay and quality of ``sample(rate=)``, beside other ways.

Every way gets the same float32 mono signal in chunks of 20 ms.  Speed is the CPU time of
putting chunks in: for audiostream the whole of ``write_nowait`` (checks, filter, ring), for
the others, and for its filters alone, the bare call.  Delay has two parts: what a way holds
back, the signal's time that went in less the time that has come out, looked at after every
chunk; and by how much what comes out is shifted, from the correlation of noise below 3 kHz
with an exact resampling of it all.  SNR is a tone's power over that of everything else that
comes out, images above all, at 0.4 of the lower rate, where a filter has most to do.  Ripple is
by how much the loudest of twenty tones up to there is louder than the quietest.  Images are
what comes out of tones beyond, up to 0.49, but these tones themselves, over what went in;
aliases what comes out of tones that 48 kHz cannot hold, from 96 kHz.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import Spread, interleaved
from benchmarks.report import Report, Table, peer

RATE = 48000
RATES = (8000, 16000, 22050, 24000, 44100)
CHUNK = 0.02
BURST = 5
"""Chunks put in between two looks at the clock; a voice's ring holds them."""

OURS, LIVE, BARE = "audiostream", "audiostream, live", "soxr HQ"
MINE = (OURS, LIVE, "its filter alone", "its live filter alone")


class Audiostream:
    """A voice of a 48 kHz output, read as the audio thread does."""

    def __init__(self, rate: int, quality: str = "high") -> None:
        from audiostream.device.manual import ManualDevice
        from audiostream.engine.output import Output
        from audiostream.engine.voice import Voice
        from audiostream.pcm import Format

        self.device = ManualDevice(latency=0.0)
        self.output = Output(Format(RATE, 1, 32), 256, self.device)
        self.output.open()
        self.output.start()
        self.voice = Voice(self.output, Format(rate, 1, 32), 0.25, quality=quality)
        self.voice.play()

    def put(self, chunk: np.ndarray) -> None:
        assert self.voice.write_nowait(chunk) == len(chunk)

    def end(self) -> None:
        self.voice.end()

    def take(self) -> np.ndarray:
        return self.device.step(self.voice.write_index() - self.voice.read_index())[:, 0]

    def close(self) -> None:
        self.output.close()


class Bare:
    """A function of a chunk and "is it the last?" that gives what comes out."""

    def __init__(self, convert: Callable[[np.ndarray, bool], np.ndarray]) -> None:
        self._convert = convert
        self._out: list[np.ndarray] = []

    def put(self, chunk: np.ndarray) -> None:
        self._out.append(self._convert(chunk, False))

    def end(self) -> None:
        self._out.append(self._convert(np.zeros(0, np.float32), True))

    def take(self) -> np.ndarray:
        out, self._out = self._out, []
        return np.concatenate(out) if out else np.zeros(0, np.float32)

    def close(self) -> None:
        pass


def filter_alone(rate: int, quality: str) -> Bare:
    from audiostream.engine.resampler import resampler
    from audiostream.realtime.compile.kernels import kernels

    stream = resampler(kernels(), rate, RATE, 1, quality)
    return Bare(lambda chunk, last: stream.resample_chunk(chunk[:, None], last=last)[:, 0])


def soxr_stream(rate: int, **options: Any) -> Bare:
    import soxr

    stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32", **options)
    return Bare(lambda chunk, last: stream.resample_chunk(chunk, last=last))


def linear(rate: int) -> Bare:
    """``np.interp``, from one chunk's last sample into the next chunk."""
    before, given, taken = np.zeros(1, np.float32), 0, 0

    def convert(chunk: np.ndarray, last: bool) -> np.ndarray:
        nonlocal before, given, taken
        if last:
            return before[:0]
        known = np.concatenate([before, chunk])  # the frames taken - 1 ... behind the chunk
        stop = -(-(taken + len(chunk) - 1) * RATE // rate)
        places = np.arange(given, stop) * (rate / RATE) - (taken - 1)
        before, given, taken = chunk[-1:], stop, taken + len(chunk)
        return np.interp(places, np.arange(len(known)), known).astype(np.float32)

    return Bare(convert)


def miniaudio_chunks(rate: int) -> Bare:
    """Its one converter, which keeps nothing from chunk to chunk."""
    import miniaudio

    float32 = miniaudio.SampleFormat.FLOAT32

    def convert(chunk: np.ndarray, last: bool) -> np.ndarray:
        if last:
            return np.zeros(0, np.float32)
        data = chunk.tobytes()
        out = miniaudio.convert_frames(float32, 1, rate, data, float32, 1, RATE)
        return np.frombuffer(out, np.float32)

    return Bare(convert)


def miniaudio_whole(rate: int) -> Bare:
    """The same, of everything at the end."""
    whole: list[np.ndarray] = []
    inner = miniaudio_chunks(rate)

    def convert(chunk: np.ndarray, last: bool) -> np.ndarray:
        whole.append(chunk)
        return inner._convert(np.concatenate(whole), False) if last else chunk[:0]

    return Bare(convert)


WAYS: dict[str, Callable[[int], Any]] = {
    OURS: Audiostream,
    LIVE: partial(Audiostream, quality="live"),
    MINE[2]: partial(filter_alone, quality="high"),
    MINE[3]: partial(filter_alone, quality="live"),
    BARE: partial(soxr_stream, quality="HQ"),
    "soxr LQ": partial(soxr_stream, quality="LQ"),
    "soxr, variable rate": partial(soxr_stream, vr=True),
    "np.interp": linear,
    "miniaudio, by chunk": miniaudio_chunks,
    "miniaudio, all at once": miniaudio_whole,
}


def through(
    make: Callable[[int], Any], rate: int, signal: np.ndarray, burst: int = 1
) -> tuple[np.ndarray, float, list[float]]:
    """What comes out, the CPU seconds, and what was held back after each burst (seconds)."""
    size = round(rate * CHUNK)
    chunks = [signal[start : start + size] for start in range(0, len(signal), size)]
    spent = 0.0
    out, held = [], []
    with contextlib.closing(make(rate)) as way:
        written = given = 0
        for first in range(0, len(chunks), burst):
            some = chunks[first : first + burst]
            begun = time.thread_time()
            for chunk in some:
                way.put(chunk)
            spent += time.thread_time() - begun
            out.append(way.take())
            written += sum(map(len, some))
            given += len(out[-1])
            held.append(written / rate - given / RATE)
        begun = time.thread_time()
        way.end()
        spent += time.thread_time() - begun
        out.append(way.take())
    return np.concatenate(out), spent, held


def speed(make: Callable[[int], Any], rate: int, seconds: float) -> float:
    """Times real time."""
    signal = np.random.default_rng(1).uniform(-0.5, 0.5, round(rate * seconds))
    return seconds / through(make, rate, signal.astype(np.float32), BURST)[1]


def fitted(out: np.ndarray, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The amplitudes of these tones (Hz) in the middle of it, and what else is there."""
    middle = out[len(out) // 4 : -len(out) // 4].astype(float)
    angles = 2 * np.pi * frequencies * np.arange(len(middle))[:, None] / RATE
    basis = np.concatenate(
        [np.sin(angles), np.cos(angles), np.ones_like(angles[:, :1])], axis=1
    )
    found = np.linalg.lstsq(basis, middle, rcond=None)[0]
    sines, cosines = found[:-1].reshape(2, -1)
    return np.hypot(sines, cosines), middle - basis @ found


def snr(make: Callable[[int], Any], rate: int) -> float:
    """dB from a tone at 0.4 of the lower rate to all else, the edges left out."""
    frequency = 0.4 * min(rate, RATE)
    tone = 0.5 * np.sin(2 * np.pi * frequency * np.arange(2 * rate) / rate)
    out = through(make, rate, tone.astype(np.float32))[0]
    (amplitude,), rest = fitted(out, np.array([frequency]))
    return float(10 * np.log10(amplitude**2 / 2 / np.mean(rest**2)))


def tones(frequencies: np.ndarray, rate: int) -> np.ndarray:
    """A second of tones of 0.03 each, in quadratic phases so that they do not pile up."""
    phases = np.pi * np.arange(len(frequencies)) ** 2 / len(frequencies)
    angles = 2 * np.pi * frequencies * np.arange(rate)[:, None] / rate + phases
    return (0.03 * np.sin(angles)).sum(axis=1).astype(np.float32)


def ripple(make: Callable[[int], Any], rate: int) -> float:
    """dB from the quietest to the loudest of tones up to 0.4 of the lower rate."""
    frequencies = np.linspace(0.02, 0.4, 20) * min(rate, RATE)
    amplitudes, _ = fitted(through(make, rate, tones(frequencies, rate))[0], frequencies)
    return float(20 * np.log10(amplitudes.max() / amplitudes.min()))


def aliases(make: Callable[[int], Any]) -> float:
    """dB: what comes out of tones from 0.51 to 0.98 of 48 kHz, over what went in at 96 kHz."""
    signal = tones(np.linspace(0.51, 0.98, 20) * RATE, 2 * RATE)
    out = through(make, 2 * RATE, signal)[0].astype(float)
    middle = out[len(out) // 4 : -len(out) // 4]
    return float(10 * np.log10(np.mean(middle**2) / np.mean(signal.astype(float) ** 2)))


def images(make: Callable[[int], Any], rate: int) -> float:
    """dB: what comes of tones from 0.41 to 0.49 of the rate but they, over what went in."""
    frequencies = np.linspace(0.41, 0.49, 9) * rate
    signal = tones(frequencies, rate)
    _, rest = fitted(through(make, rate, signal)[0], frequencies)
    return float(10 * np.log10(np.mean(rest**2) / np.mean(signal.astype(float) ** 2)))


def delay(make: Callable[[int], Any], rate: int) -> tuple[float, float, float]:
    """Milliseconds: held back at the most, held back in the mean, shifted."""
    import soxr

    noise = np.random.default_rng(2).uniform(-0.5, 0.5, 2 * 6000)
    signal = soxr.resample(noise, 6000, rate, "VHQ").astype(np.float32)
    out, _, held = through(make, rate, signal)
    exact = soxr.resample(signal, rate, RATE, "VHQ")
    middle = slice(RATE // 2, 3 * RATE // 2)
    shifts = range(-480, 481)
    likeness = [
        np.dot(exact[middle], out[middle.start + shift : middle.stop + shift])
        for shift in shifts
    ]
    shift = shifts[int(np.argmax(likeness))] / RATE
    behind = held[len(held) // 4 :]  # once it flows
    return 1e3 * max(behind), 1e3 * float(np.mean(behind)), 1e3 * shift


Found = dict[int, dict[str, dict[str, Any]]]
"""Rate -> way -> "speed" (a Spread), "delay" (three figures), "snr" and so on (dB)."""


def measure(seconds: float, rounds: int) -> Found:
    found: Found = {}
    for rate in RATES:
        found[rate] = {
            name: {
                "delay": delay(make, rate),
                "snr": snr(make, rate),
                "ripple": ripple(make, rate),
                "images": images(make, rate),
            }
            for name, make in WAYS.items()
        }
        ways = {name: partial(speed, make, rate, seconds) for name, make in WAYS.items()}
        for name, speeds in interleaved(ways, rounds).items():
            found[rate][name]["speed"] = Spread.of(speeds)
    return found


def bold(name: str) -> str:
    return f"**{name}**" if name in MINE else name


def tables(found: Found, folded: dict[str, float]) -> list[Table]:
    def of(caption: str, cell: Callable[[dict[str, Any]], str]) -> Table:
        return Table(
            ["way", *(f"from {rate / 1000:g} kHz" for rate in RATES)],
            [[bold(name), *(cell(found[r][name]) for r in RATES)] for name in WAYS],
            caption,
        )

    return [
        of(
            "**Speed**, times real time on one core, median (least to most)",
            lambda f: f["speed"].text(0),
        ),
        of(
            "**Delay** in ms: held back at the most (in the mean), and the shift of what comes",
            lambda f: "{:.1f} ({:.1f}) + {:.1f}".format(*f["delay"]),
        ),
        of("**SNR** of a tone at 0.4 of the lower rate, dB", lambda f: f"{f['snr']:.0f}"),
        of(
            "**Ripple** of the pass band up to 0.4 of the lower rate, dB",
            lambda f: f"{f['ripple']:.5f}",
        ),
        of(
            "**Images** of tones from 0.41 to 0.49 of the lower rate, dB",
            lambda f: f"{f['images']:.0f}",
        ),
        Table(
            ["way", "dB"],
            [[bold(name), f"{level:.0f}"] for name, level in folded.items()],
            "**Aliases** of tones from 24.5 to 47 kHz, from 96 kHz",
        ),
    ]


def is_better(what: str, theirs: dict[str, Any], mine: dict[str, Any]) -> bool:
    """By more than the last digit that is told."""
    if what == "speed":
        return theirs["speed"].median > mine["speed"].median
    if what == "delay":
        return latency(theirs) < latency(mine) - 0.1
    if what == "ripple":
        return theirs["ripple"] < mine["ripple"] - 0.00001
    return theirs["snr"] > mine["snr"] + 1


def latency(figures: dict[str, Any]) -> float:
    """Milliseconds to wait before playing, so as never to run dry; and the shift."""
    most, _, shift = figures["delay"]
    return most + shift


def wins(found: Found, name: str, mine: str) -> str:
    """In what another way is ahead of one of ours."""
    told = []
    for what in ("speed", "delay", "snr", "ripple"):
        where = [r for r in RATES if is_better(what, found[r][name], found[r][mine])]
        rates = ", ".join(f"{rate / 1000:g}" for rate in where)
        if where:
            every = "every rate" if len(where) == len(RATES) else rates + " kHz"
            told.append(f"{what if what != 'snr' else 'SNR'} from {every}")
    return " and in ".join(told)


def verdict(found: Found, folded: dict[str, float]) -> str:
    """The worst of every figure of "live" beside its targets."""
    mine = [found[rate][LIVE] for rate in RATES]
    alone = [found[rate][MINE[3]]["speed"].median for rate in RATES]
    return (
        'Targets of quality="live", and its worst figures: at most 3 ms of delay, '
        f"{max(map(latency, mine)):.2f}; SNR of at least 90 dB, "
        f"{min(f['snr'] for f in mine):.0f}; aliases below -80 dB, {folded[LIVE]:.0f}, "
        f"and images {max(f['images'] for f in mine):.0f}; "
        "at least 500 times real time, "
        f"{min(f['speed'].median for f in mine):.0f} for all of a write "
        f"and {min(alone):.0f} for the filter alone."
    )


def remarks(found: Found, folded: dict[str, float]) -> list[str]:
    told = [verdict(found, folded)]
    for mine in (OURS, LIVE):
        for name in WAYS:
            ahead = wins(found, name, mine) if name not in MINE else ""
            if ahead:
                told.append(f"Ahead of {mine}: {name}, in {ahead}.")
    costs = [
        100 * (found[rate][BARE]["speed"].median / found[rate][OURS]["speed"].median - 1)
        for rate in RATES
    ]
    return [
        *told,
        "audiostream's figure is all of a write, with its checks and its ring: it takes "
        f"{min(costs):.0f} to {max(costs):.0f} % more CPU time than soxr's bare calls do. "
        "Unlike these it never gives up the interpreter lock (see the benchmark of tasks).",
        "What is held back at the most is what has to be queued before a voice that is written "
        "to in real time plays without a gap.",
        "miniaudio's `convert_frames` keeps nothing from one call to the next, so chunks do "
        "not fit together; all at once is no way to play a stream, and shows what the "
        "converter can do.  Its decoders resample as they go, but only files.",
    ]


def plot(found: Found, figure: Any) -> None:
    left, right = figure.subplots(1, 2)
    for name in WAYS:
        if name not in ("miniaudio, all at once", *MINE[2:]):
            style = "o-" if name in MINE else "o--"
            speeds = [found[rate][name]["speed"].median for rate in RATES]
            width = 4 if name in MINE else 1.5  # it may lie under soxr's
            left.plot(range(len(RATES)), speeds, style, linewidth=width, label=name)
            delays = [latency(found[rate][name]) for rate in RATES]
            right.plot(range(len(RATES)), delays, style, linewidth=width, label=name)
    left.set(title="Speed", ylabel="times real time on one core", ylim=(0, None))
    right.set(title="Delay", ylabel="ms, at the most")
    right.set_yscale("symlog", linthresh=1)
    for panel in (left, right):
        panel.set_xticks(range(len(RATES)), [f"{rate / 1000:g}" for rate in RATES])
        panel.set_xlabel("from kHz")
        panel.grid(True, alpha=0.3)
    left.legend(fontsize="x-small")
    figure.suptitle("Resampling to 48 kHz in chunks of 20 ms")


def run(quick: bool) -> Report:
    seconds, rounds = (2.0, 3) if quick else (10.0, 15)
    found = measure(seconds, rounds)
    folded = {name: aliases(make) for name, make in WAYS.items()}
    return Report(
        title="Resampling",
        method=(
            f"Float32 mono to {RATE} Hz in chunks of {1000 * CHUNK:.0f} ms; {rounds} "
            f"interleaved rounds of {seconds:g} s of noise for the speed. audiostream is "
            "`write_nowait` of a `sample(rate=)`, with its usual quality, high, and with live, "
            "and then the filters of both without a voice; beside them "
            f"{peer('soxr')} by itself "
            f"(`ResampleStream`), linear interpolation with {peer('numpy')}, and "
            f"{peer('miniaudio')} (`convert_frames`)."
        ),
        tables=tables(found, folded),
        plot=partial(plot, found),
        remarks=remarks(found, folded),
    )
