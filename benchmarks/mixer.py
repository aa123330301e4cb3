"""Mixing speed: float32 voice-samples a second, beside plain C and the peers.

A block is 256 stereo frames; a voice puts 512 samples into it.  Every way clears the block
and adds the voices at a gain of each one's own, constant or moving with every frame, from
the same rings.  *In cache* they are one block long, so that the same samples are read
again and again (64 voices: 128 kB, in L2); *from rings* they are as long as ``sample()``
makes them, 16384 frames, read to the end (64 voices: 8 MB, beyond L2), as a mixer fed by
somebody finds them.

What is timed is the CPU time of the thread that mixes, over bursts of many blocks called
from C (mixer_loop.c); numpy's from Python; of SDL_mixer, which only runs on a thread of
SDL's, the median block by the clock.  audiostream is the whole callback, with control words,
counters, meters, heard positions and clocks.
"""

from __future__ import annotations

import contextlib
import ctypes
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from audiostream.engine.memory import ring
from benchmarks.harness import Spread, in_process, interleaved
from benchmarks.report import Report, Table, peer

FRAMES = 256
SAMPLES = 2 * FRAMES
VOICES = (1, 8, 64, 256)
GAINS = {"constant gain": False, "gain ramp": True}
LAYOUTS = {"in cache": FRAMES, "from rings": 16384}
"""Name -> frames of every voice's ring."""

BURST = 16384
"""Voice-blocks that a C loop is timed over: about a millisecond, and many rounds, since a
shared machine changes its pace from one to the next."""

PAGE = 4096
COMPILE = ("gcc", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")
PLAIN = "plain C"
LIMIT = "AVX2 by hand, four voices a pass"
RTMIXER = "rtmixer"
RENDER = "audiostream"
GROUPED = "audiostream, four groups"
UNDER_WAY = "audiostream, ramps begun before"
LEAD = 4
"""Blocks that such ramps are under way before those that count, and after them."""


class Job(ctypes.Structure):
    """``struct job`` of mixer_loop.c."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("voices", "frames", "blocks", "capacity")),
        ("position", ctypes.c_long),
        *((name, ctypes.c_void_p) for name in ("rings", "gains", "steps", "mix")),
        *((name, ctypes.c_void_p) for name in ("ramp", "out")),
    ]


class Hook(ctypes.Structure):
    """``struct hook`` of mixer_loop.c."""

    _fields_ = [
        ("blocks", ctypes.c_long),
        ("seen", ctypes.c_long),
        ("begun", ctypes.c_double),
        ("spent", ctypes.c_void_p),
        ("mix", ctypes.c_void_p),
    ]


def compiled_loops() -> ctypes.CDLL:
    """mixer_loop.c as the machine's own compiler makes it."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "loop.so"
        source = Path(__file__).with_name("mixer_loop.c")
        subprocess.run([*COMPILE, "-o", str(library), str(source)], check=True)
        loops = ctypes.CDLL(str(library))
    for name in ("plain", "plain_ramp", "limit", "limit_ramp", "timed", "one_by_one", "call"):
        if hasattr(loops, name):
            getattr(loops, name).restype = ctypes.c_double
    return loops


class Bench:
    """So many voices in rings of so many frames, and all ways to mix them.

    A way takes a number of blocks and returns the CPU seconds that they took.
    """

    def __init__(self, loops: Any, voices: int, capacity: int) -> None:
        self.loops = loops
        self.voices, self.capacity = voices, capacity
        # Long rings begin a line further in the page than the one before, as the engine lays
        # them; short ones lie one after the other.
        width = 8 * (capacity + FRAMES)
        stride = -(-width // PAGE) * PAGE + 64 if width > 32 * PAGE else width + 64
        raw = np.zeros(voices * stride + PAGE, np.uint8)
        first = -raw.ctypes.data % PAGE
        rows = np.lib.stride_tricks.as_strided(
            raw[first:].view(np.float32), (voices, capacity + FRAMES, 2), (stride, 8, 4)
        )
        random = np.random.default_rng(1)
        for row in rows:
            row[:capacity] = random.uniform(-1, 1, (capacity, 2))
            row[capacity:] = row[:FRAMES]
        self.rows = rows
        # Passes of four are made up with silence, as the mixer makes them up.
        passes = -(-voices // 4) * 4
        self.silence = np.zeros(2 * (capacity + FRAMES), np.float32)
        self.rings = np.full(passes, self.silence.ctypes.data, np.int64)
        self.rings[:voices] = [row.ctypes.data for row in rows]
        self.levels = random.uniform(0.2, 0.8, (2, voices)).astype(np.float32) / voices
        self.gains = np.zeros(passes, np.float32)
        self.steps = np.zeros(passes, np.float32)
        # On cache lines, as the engine's are: off them sums take up to an eighth longer, and
        # where numpy lays an array is chance.
        self.out, self.ramp, self.mix = (ring(SAMPLES, number) for number in range(3))
        self.ramp[:] = np.arange(1, FRAMES + 1, dtype=np.float32).repeat(2)
        self.mix = self.mix.reshape(FRAMES, 2)
        self.job = Job(voices, FRAMES, 0, capacity, 0)
        for name, array in (
            ("rings", self.rings),
            ("gains", self.gains),
            ("steps", self.steps),
            ("mix", self.mix),
            ("ramp", self.ramp),
            ("out", self.out),
        ):
            setattr(self.job, name, array.ctypes.data)
        self._close = contextlib.ExitStack()
        self._open_stream()
        self._keep: list[Any] = []

    def close(self) -> None:
        self._close.close()

    def _prepare(self, blocks: int, ramp: bool) -> Any:
        """The job of a burst; a ramp goes from one level to the other in it."""
        self.job.blocks = blocks
        self.gains[: self.voices] = self.levels[0]
        if ramp:
            self.steps[: self.voices] = (self.levels[1] - self.levels[0]) / (blocks * FRAMES)
        return ctypes.byref(self.job)

    # --- C and ours --------------------------------------------------------------

    def loop(self, name: str, blocks: int, ramp: bool) -> float:
        return getattr(self.loops, name + "_ramp" * ramp)(self._prepare(blocks, ramp))

    def _open_stream(self) -> None:
        """An output with its voices as the engine makes them, on our rings that never end."""
        from audiostream.device.manual import ManualDevice
        from audiostream.engine.output import Output
        from audiostream.engine.voice import Voice
        from audiostream.pcm import Format

        format = Format(48000, 2, 32)
        self.output = Output(format, FRAMES, ManualDevice(latency=0.01), self.voices)
        self.output.open()
        self.played: list[Voice] = []
        self.risen = False
        self._close.callback(self.output.close)
        for row, gain in zip(self.rings, self.levels[0], strict=False):
            voice = Voice(self.output, format, self.capacity / 48000)
            record = voice.strip.record
            record["ring"], record["capacity"], record["write"] = row, self.capacity, 1 << 60
            record["gain"] = record["gain_goal"] = gain
            voice.play()
            self.played.append(voice)
        self.position = 0

    def own_grouped(self, blocks: int, ramp: bool) -> float:
        """The same with the voices in four groups, each with its meter."""
        from audiostream.engine.group import Group

        groups = [Group(self.output) for _ in range(4)]
        self._into([group.record_address for group in groups])
        try:
            return self.own_render(blocks, ramp)
        finally:
            self._into([0])
            for group in groups:
                group.close()

    def _into(self, groups: list[int]) -> None:
        for number, voice in enumerate(self.played):
            voice.strip.record["group"] = groups[number % len(groups)]

    def own_render(self, blocks: int, ramp: bool) -> float:
        if ramp:
            self._set_out(blocks)
        return self.render(blocks)

    def own_under_way(self, blocks: int, ramp: bool) -> float:
        """The same on ramps that began before the blocks that count."""
        self._set_out(blocks + 2 * LEAD)
        self.render(LEAD)
        spent = self.render(blocks)
        self.render(LEAD)
        return spent

    def _set_out(self, blocks: int) -> None:
        self.risen = not self.risen
        for voice, gain in zip(self.played, self.levels[int(self.risen)], strict=True):
            voice.fade(float(gain), blocks * FRAMES / 48000)

    def render(self, blocks: int) -> float:
        """CPU seconds of so many callbacks."""
        job = self._prepare(blocks, False)
        # The voices read on from wherever they are, and so does the device's time.
        before, self.job.position = self.job.position, self.position
        spent = self.loops.call(
            ctypes.c_void_p(self.output.kernels.render),
            ctypes.c_void_p(self.output.address),
            job,
            ctypes.c_double(0.01),
            None,
            None,
        )
        self.position, self.job.position = self.job.position, before
        return spent

    # --- numpy -------------------------------------------------------------------

    def _spans(self, blocks: int) -> Iterator[Any]:
        for _ in range(blocks):
            start = self.job.position & (self.capacity - 1)
            self.job.position += FRAMES
            yield self.rows[:, start : start + FRAMES]

    def numpy_one_by_one(self, blocks: int, ramp: bool) -> float:
        self._prepare(blocks, ramp)
        mix, scratch = self.mix, np.empty_like(self.mix)
        count = np.arange(1, FRAMES + 1, dtype=np.float32)[:, None]
        begun = time.thread_time()
        for sources in self._spans(blocks):
            mix[:] = 0
            for v, source in enumerate(sources):
                gain = self.gains[v]
                if ramp:
                    gain = count * self.steps[v] + gain
                    self.gains[v] = gain[-1, 0]
                np.multiply(source, gain, out=scratch)
                np.add(mix, scratch, out=mix)
        return time.thread_time() - begun

    def numpy_at_once(self, blocks: int, ramp: bool) -> float:
        """``gains @ sources`` (BLAS); with a ramp einsum over a matrix of gains."""
        self._prepare(blocks, ramp)
        count = np.arange(1, FRAMES + 1, dtype=np.float32)
        begun = time.thread_time()
        for sources in self._spans(blocks):
            if ramp:
                steps = self.steps[: self.voices, None]
                gains = count * steps + self.gains[: self.voices, None]
                self.gains[: self.voices] = gains[:, -1]
                np.einsum("vf,vfc->fc", gains, sources, out=self.mix)
            else:
                flat = np.lib.stride_tricks.as_strided(
                    sources, (self.voices, SAMPLES), (sources.strides[0], 4)
                )
                np.matmul(self.gains[: self.voices], flat, out=self.mix.reshape(-1))
        return time.thread_time() - begun

    # --- the peers ---------------------------------------------------------------

    def miniaudio(self) -> Callable[[int, bool], float]:
        """Its engine's mixing function, which the Python package exports but does not use."""
        import _miniaudio

        mix = ctypes.CDLL(_miniaudio.__file__).ma_mix_pcm_frames_f32
        return lambda blocks, ramp: self.loops.one_by_one(mix, self._prepare(blocks, ramp))

    def rtmixer(self) -> Callable[[int, bool], float]:
        """Its callback with a ring buffer for every voice, without a stream around."""
        import _rtmixer
        import pa_ringbuffer

        ffi, lib = _rtmixer.ffi, _rtmixer.lib
        queue = pa_ringbuffer.init(ffi, lib)
        size = 1 << max(self.voices, 2).bit_length()
        actions, results = (queue(ffi.sizeof("struct action*"), size) for _ in range(2))
        state = ffi.new(
            "struct state*",
            {
                "output_channels": 2,
                "samplerate": 48000,
                "action_q": actions._ptr,
                "result_q": results._ptr,
            },
        )
        rings = []
        for address in self.rings[: self.voices]:
            ring = ffi.new("PaUtilRingBuffer*")
            pointer = ffi.cast("void*", int(address))
            assert lib.PaUtil_InitializeRingBuffer(ring, 8, self.capacity, pointer) == 0
            action = ffi.new(
                "struct action*",
                {
                    "type": lib.PLAY_RINGBUFFER,
                    "actual_time": -1.0,  # "allow belated"
                    "ringbuffer": ring,
                    "total_frames": lib.ULONG_MAX,
                    "channels": 2,
                    "mapping": (1, 2),
                },
            )
            actions.write(ffi.new("struct action**", action))
            rings.append(ring)
            self._keep += [ring, action]
        self._keep += [state, actions, results]
        pointers = (ctypes.c_void_p * self.voices)(
            *(int(ffi.cast("intptr_t", ring)) for ring in rings)
        )

        def address(function: str) -> ctypes.c_void_p:
            return ctypes.c_void_p(int(ffi.cast("intptr_t", ffi.addressof(lib, function))))

        def run(blocks: int, ramp: bool) -> float:
            return self.loops.call(
                address("callback"),
                ctypes.c_void_p(int(ffi.cast("intptr_t", state))),
                self._prepare(blocks, ramp),
                ctypes.c_double(0.01),
                address("PaUtil_AdvanceRingBufferWriteIndex"),
                pointers,
            )

        return run

    def pygame(self, size: int) -> Callable[[int, bool], float]:
        """SDL_mixer on SDL's disk driver, which has no clock.

        Hooks before and behind its sums look at the clock; the median block counts.
        """
        import pygame

        libraries = Path(pygame.__file__).parent.parent / "pygame_ce.libs"
        mixer = ctypes.CDLL(str(next(libraries.glob("libSDL2_mixer-*"))))
        rows = self.rows[:, : self.capacity]
        data = rows if size == 32 else (rows * 32767).astype(np.int16)

        def run(blocks: int, ramp: bool) -> float:
            pygame.mixer.init(48000, size, 2, FRAMES, allowedchanges=0)
            try:
                assert pygame.mixer.get_init() == (48000, -abs(size), 2)
                pygame.mixer.set_num_channels(self.voices)
                for v in range(self.voices):
                    channel = pygame.mixer.Channel(v)
                    channel.set_volume(0.5)
                    channel.play(pygame.mixer.Sound(buffer=data[v].tobytes()), loops=-1)
                spent = np.zeros(blocks)
                hook = Hook(blocks, -8, 0, spent.ctypes.data, self.mix.ctypes.data)
                mixer.Mix_HookMusic(self.loops.before_sums, ctypes.byref(hook))
                mixer.Mix_SetPostMix(self.loops.behind_sums, ctypes.byref(hook))
                while hook.seen < blocks:
                    time.sleep(0.001)
                mixer.Mix_SetPostMix(None, None)
                mixer.Mix_HookMusic(None, None)
                return blocks * float(np.median(spent))
            finally:
                pygame.mixer.quit()

        return run

    # --- all ---------------------------------------------------------------------

    def ways(self, ramp: bool) -> dict[str, tuple[Callable[[int, bool], float], float]]:
        """Name -> the way, and the share of a C loop's blocks that it is given."""
        found: dict[str, tuple[Callable[[int, bool], float], float]] = {
            PLAIN: (lambda blocks, ramp: self.loop("plain", blocks, ramp), 1),
        }
        if hasattr(self.loops, "limit"):
            found[LIMIT] = (
                lambda blocks, ramp: self.loop("limit", blocks, ramp),
                1,
            )
        found |= {
            RENDER: (self.own_render, 1),
            GROUPED: (self.own_grouped, 1),
            "numpy, voice by voice": (self.numpy_one_by_one, 0.05),
            "numpy, gains @ sources": (self.numpy_at_once, 0.2),
        }
        if ramp:
            found[UNDER_WAY] = (self.own_under_way, 1)
        else:  # none of these moves a gain within a block
            for name, make, share in (
                ("miniaudio, ma_mix_pcm_frames_f32", self.miniaudio, 1),
                (RTMIXER, self.rtmixer, 0.2),
                ("pygame-ce, float32", lambda: self.pygame(32), 0.05),
                ("pygame-ce, int16", lambda: self.pygame(-16), 0.05),
            ):
                with contextlib.suppress(ImportError, StopIteration):
                    found[name] = (make(), share)
        return found

    def check(self, name: str, way: Callable[[int, bool], float], ramp: bool) -> None:
        """Where all blocks are alike, the last one mixed is what float64 says."""
        if ramp and self.risen and name in (RENDER, GROUPED):
            way(3, ramp)  # back to where ramps begin
        way(3, ramp)
        if self.capacity > FRAMES or name in ("pygame-ce, int16", UNDER_WAY):
            return  # the last block is none of those that count
        gains = np.repeat(self.levels[0].astype(float)[:, None], FRAMES, axis=1)
        if ramp:
            steps = (self.levels[1] - self.levels[0]) / (3 * FRAMES)
            gains += steps[:, None] * np.arange(2 * FRAMES + 1, 3 * FRAMES + 1)
        elif name == RTMIXER:  # has no gains
            gains[:] = 1.0
        elif name.startswith("pygame"):
            gains[:] = 0.5
        wanted = np.einsum("vf,vfc->fc", gains, self.rows[:, :FRAMES].astype(float))
        error = np.abs(self.mix - wanted).max()
        assert error < 1e-4, f"{name}, ramp {ramp}, {self.voices} voices: off by {error}"


Found = dict[str, dict[str, dict[str, dict[str, list[float]]]]]
"""Layout -> gain ("constant", "ramp") -> voices -> way -> voice-samples a second."""


def measure(quick: bool) -> Found:
    """All cases, one after the other, the ways of each interleaved."""
    loops = compiled_loops()
    rounds = 9 if quick else 60
    found: Found = {layout: {gain: {} for gain in GAINS} for layout in LAYOUTS}
    for layout, capacity in LAYOUTS.items():
        for voices in VOICES:
            with contextlib.closing(Bench(loops, voices, capacity)) as bench:
                for gain, ramp in GAINS.items():
                    ways = {}
                    for name, (way, share) in bench.ways(ramp).items():
                        bench.check(name, way, ramp)
                        blocks = max(int(BURST * share) // voices, 8)
                        ways[name] = partial(seconds_of, way, blocks, ramp)
                    found[layout][gain][str(voices)] = {
                        name: [voices * SAMPLES / seconds for seconds in rounds_of]
                        for name, rounds_of in interleaved(ways, rounds).items()
                    }
    return found


def seconds_of(way: Callable[[int, bool], float], blocks: int, ramp: bool) -> float:
    """CPU seconds of one block, after some to warm the cache."""
    way(2, ramp)
    return way(blocks, ramp) / blocks


def ratios(case: dict[str, list[float]], name: str, base: str) -> Spread:
    """How many times as fast as `base` in the same round."""
    return Spread.of([a / b for a, b in zip(case[name], case[base], strict=True)])


def table(found: Found, layout: str, gain: str) -> Table:
    cases = found[layout][gain]
    names = list(cases[str(VOICES[-1])])
    rows = []
    for name in names:
        cells = []
        for case in cases.values():
            rate = Spread.of(case[name]).text(2, scale=1e-9)
            cells.append(f"{rate}, {ratios(case, name, PLAIN).median:.2f} x")
        rows.append([f"**{name}**" if name.startswith("audiostream") else name, *cells])
    return Table(
        ["way", *(f"{voices} voice{'s' * (voices > 1)}" for voices in VOICES)],
        rows,
        f"**{gain.capitalize()}, {layout}**: thousand million voice-samples a second, median "
        f"(least to most), and how many times plain C's in the same round.",
    )


def targets(found: Found) -> Table:
    """What was to be reached, beside what was measured."""
    rows = []

    def row(what: str, wanted: str, of: Callable[[str], Spread], good: Callable, unit: str):
        cells = []
        for layout in LAYOUTS:
            spread = of(layout)
            verdict = "met" if good(spread.median) else "**missed**"
            cells.append(f"{spread.text(2, unit)}: {verdict}")
        rows.append([what, wanted, *cells])

    for gain, voices, most in (
        ("constant gain", "64", 0.6),
        ("constant gain", "256", 3.0),
        ("gain ramp", "64", 1.2),
    ):
        row(
            f"a callback of {voices} voices, {gain}, share of a core",
            f"{most} % or less",
            lambda layout, gain=gain, voices=voices: share(found[layout][gain][voices], voices),
            lambda median, most=most: median <= most,
            "%",
        )
    for voices in ("64", "256"):
        if RTMIXER in found["in cache"]["constant gain"][voices]:
            row(
                f"rtmixer's CPU time, {voices} voices, times render's",
                "5 x or more",
                lambda layout, voices=voices: ratios(
                    found[layout]["constant gain"][voices], RENDER, RTMIXER
                ),
                lambda median: median >= 5,
                "x",
            )
    return Table(["what", "target", *LAYOUTS], rows, "**Measured beside target**")


def share(case: dict[str, list[float]], voices: str) -> Spread:
    """Percent of a core that the callback takes at 48 kHz."""
    return Spread.of([100 * int(voices) * 2 * 48000 / rate for rate in case[RENDER]])


def remarks(found: Found) -> list[str]:
    told = []
    for layout, gains in found.items():
        for gain, cases in gains.items():
            ahead: dict[str, list[str]] = {}
            for voices, case in cases.items():
                for name in case:
                    ratio = ratios(case, name, RENDER).median
                    if not name.startswith("audiostream") and ratio > 1:
                        ahead.setdefault(name, []).append(f"{ratio:.2f} x at {voices}")
            told += [
                f"Ahead of audiostream, {gain}, {layout}: {name}, {', '.join(where)}."
                for name, where in ahead.items()
            ]
    if LIMIT in found["in cache"]["constant gain"]["64"]:
        limits = ", ".join(
            f"{ratios(cases['64'], LIMIT, PLAIN).median:.2f} x {layout} ({gain})"
            for layout, gains in found.items()
            for gain, cases in gains.items()
        )
        told.append(f"What four voices a pass can gain at 64 voices, by hand: {limits}.")
    return [
        *told,
        "rtmixer has no gains, and plays at full level; its rings are topped up in the time "
        "measured, which is about a hundredth of it.",
        "miniaudio's Python package has no mixer; it exports the function that miniaudio's "
        "own engine mixes with, which is what is called here, voice by voice.",
        "SDL_mixer's gains are 129 steps and stay the same for a block; what is timed is its "
        "median block, from before its sums to behind them, with nothing of SDL around.",
        "Neither miniaudio's function nor rtmixer nor SDL_mixer moves a gain from frame to "
        "frame, so they are not in the tables of ramps.",
    ]


def plot(found: Found, figure: Any) -> None:
    panels = figure.subplots(1, 2, sharey=True)
    for panel, gain in zip(panels, GAINS, strict=True):
        cases = found["in cache"][gain]
        for name in cases[str(VOICES[-1])]:
            own = name.startswith("audiostream")
            panel.plot(
                range(len(VOICES)),
                [statistics.median(case[name]) * 1e-9 for case in cases.values()],
                marker="o",
                linewidth=2.5 if own else 1,
                color={RENDER: "tab:red", PLAIN: "black"}.get(name),
                linestyle="-" if own or name == PLAIN else "--",
                label=name,
            )
        panel.set(title=f"{gain}, in cache", xlabel="voices", yscale="log")
        panel.set_xticks(range(len(VOICES)), [str(voices) for voices in VOICES])
        panel.grid(True, alpha=0.3)
    panels[0].set_ylabel("thousand million voice-samples a second")
    panels[0].legend(fontsize="x-small")


def run(quick: bool) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "OPENBLAS_NUM_THREADS": "1",  # numpy's
            "PYGAME_HIDE_SUPPORT_PROMPT": "1",
            # SDL's disk takes blocks as fast as they come.
            "SDL_AUDIODRIVER": "disk",
            "SDL_DISKAUDIOFILE": str(Path(folder) / "sdl.raw"),
            "SDL_DISKAUDIODELAY": "0",
        }
        found = in_process("benchmarks.mixer:measure", quick, env=environment)
    rounds = len(found["in cache"]["constant gain"]["1"][PLAIN])
    compiler = subprocess.run([COMPILE[0], "--version"], capture_output=True, text=True)
    return Report(
        title="Mixing speed",
        method=(
            f"Blocks of {FRAMES} stereo frames ({SAMPLES} samples a voice), float32; CPU time "
            f"of the mixing thread; median of {rounds} interleaved rounds. *In cache*: every "
            "voice's ring is one block long (64 voices: 128 kB, within L2); *from rings*: "
            "16384 frames, as `sample()` makes them, read from end to end (64 voices: 8 MB, "
            "beyond L2), the same memory for all ways. Plain C is "
            "`for v: for i: mix[i] += src[v][i] * gain[v]`, with a ramp `gain += step` per "
            f"frame, by {compiler.stdout.splitlines()[0]} with `{' '.join(COMPILE[1:4])}`. "
            "*audiostream* is the whole callback. "
            f"Beside {peer('numpy')}, {peer('rtmixer')}, {peer('miniaudio')} and "
            f"{peer('pygame-ce')}."
        ),
        tables=[
            targets(found),
            *(table(found, layout, gain) for layout in LAYOUTS for gain in GAINS),
        ],
        plot=partial(plot, found),
        remarks=remarks(found),
    )
