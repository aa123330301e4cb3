"""Sounds in memory, played any number of times at once; any thread.

A playback is a voice whose ring is the sound's own memory, which all its playbacks
share.  It has no producer, and gives its slot back by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import numpy as np

from audiostream.checks import check_number, check_times
from audiostream.engine.controls import MAX_GAIN, Controls
from audiostream.engine.memory import ring
from audiostream.engine.meter import Level
from audiostream.engine.output import Output
from audiostream.engine.panning import sides_of
from audiostream.engine.resampler import resampler
from audiostream.engine.sample_input import Samples, spread
from audiostream.engine.strip import FADE
from audiostream.realtime.opcodes import END, PAUSE, PLAY, RESUME

if TYPE_CHECKING:
    from audiostream.engine.effects import Effects
    from audiostream.engine.generator import GeneratorMemory
    from audiostream.engine.group import Group

__all__ = ("Playback", "SoundMemory", "preparation")

FOREVER = 1 << 60
"""The end of a playback that loops until it is stopped."""

WORK = 8192
"""Samples, at the higher of two rates, that are converted at a time: less than a millisecond,
for which our own resampler keeps the interpreter lock."""

AT_A_TIME = 16384
"""Frames that are copied at a time."""


class SoundMemory:
    """A sound as an output plays it: its rate, its channels, float32.

    Parameters
    ----------
    output : Output
        Open.
    *parts : ndarray
        Float32 (frames, channels) at the device's rate, one after the other, one frame at
        least.  Other channels become the device's as a sample's do; what is no number is
        silence, and infinity full scale.
    """

    is_ready = True

    def __init__(self, output: Output, *parts: np.ndarray) -> None:
        self.output = output
        self.frames = sum(map(len, parts))
        channels = output.parameters.channels
        # As often as fills a block, at least; and after its end it begins again, so that any
        # block of a loop is in one piece.
        self.capacity = self.frames * -(-output.max_block // self.frames)
        total = self.capacity + output.max_block
        self.samples = ring(total * channels, 0)
        memory = self.samples.reshape(-1, channels)
        filled = 0
        for part in parts:
            for start in range(0, len(part), AT_A_TIME):
                block = np.ascontiguousarray(part[start : start + AT_A_TIME], np.float32)
                output.kernels.spread(
                    memory[filled:].ctypes.data,
                    channels,
                    block.ctypes.data,
                    32,
                    block.shape[1],
                    len(block),
                )
                filled += len(block)
        while filled < total:
            count = min(filled, total - filled)
            memory[filled : filled + count] = memory[:count]
            filled += count

    def started(self, holder: Playback) -> None:
        """Nothing to do: it is played any number of times."""

    def ended(self) -> None:
        """Nothing to do."""

    def when_ready(self, then: Callable[[], object]) -> None:
        """Call a function: it is ready."""
        then()

    def failure(self) -> None:
        """None: nothing can go wrong in it."""


def preparation(
    output: Output, samples: np.ndarray, source: int, loop: bool
) -> Generator[None, None, SoundMemory]:
    """Convert a sound to the device's rate and channels, in steps of a millisecond or so.

    Parameters
    ----------
    samples : ndarray
        Float32 (frames, channels).
    source : int
        Their rate (Hz).
    loop : bool
        True: its end goes on at its beginning, and it lasts a whole number of frames, the one
        next to what the rates say.  Otherwise it comes out of silence and goes back to it.

    Yields
    ------
    None
        After each step.

    Returns
    -------
    SoundMemory
    """
    rate = output.parameters.rate
    channels = min(samples.shape[1], output.parameters.channels)
    at_a_time = max(WORK // math.ceil(channels * max(rate / source, 1)), 1)

    def block_of(first: int) -> np.ndarray:
        """The frames from the first on, in as few channels as will do."""
        if loop:
            taken = samples[np.arange(first, first + at_a_time) % len(samples)]
        else:
            taken = np.ascontiguousarray(samples[first : first + at_a_time])
        return spread(output.kernels, Samples(taken, taken.shape[1], 32), channels).data

    if source == rate:
        parts = [samples]
    elif loop:
        parts = [(yield from _around(output, block_of, len(samples), source, channels))]
    else:
        converter = resampler(output.kernels, source, rate, channels)
        parts = []
        for first in range(0, len(samples), at_a_time):
            last = first + at_a_time >= len(samples)
            parts.append(converter.resample_chunk(block_of(first), last=last))
            yield
    return SoundMemory(output, *parts)


def _around(
    output: Output,
    block_of: Callable[[int], np.ndarray],
    count: int,
    source: int,
    channels: int,
) -> Generator[None, None, np.ndarray]:
    """A loop of `count` frames at another rate, float32 (frames, channels).

    The ratio is that of the two whole numbers of frames, not of the rates, so that the end
    meets the beginning to a part of a frame.  The sound is converted from its beginning on,
    and on from there when it has come round: the first outputs, which the filter makes out of
    silence, are replaced by those of the second round.
    """
    frames = max(round(count * output.parameters.rate / source), 1)
    common = math.gcd(count, frames)
    converter = resampler(output.kernels, count // common, frames // common, channels)
    result = np.empty((frames, channels), np.float32)
    first = 0
    place = 0  # of the next output, in all rounds
    begin = converter.held_back()  # from here on the filter knows only of the loop
    while place < begin + frames:
        block = block_of(first)
        made = converter.resample_chunk(block)
        first += len(block)
        places = np.arange(place, place + len(made))
        kept = (places >= begin) & (places < begin + frames)
        result[places[kept] % frames] = made[kept]
        place += len(made)
        yield
    return result


class Playback(Controls):
    """One playing of a sound.

    Parameters
    ----------
    memory : SoundMemory or GeneratorMemory
    at : float, optional
        Seconds on the stream's clock; in the next block if not given.
    gain : float
        0 to 1000.
    pan : float
        -1 to 1, on a stereo output.
    loop : bool or int
        True: until it is stopped; a number: so many times in all.
    group : Group, optional
        What it plays into.
    effects : Effects, optional
        The list of its effects.

    Raises
    ------
    FormatError
        For a value that cannot be used.
    AudioException
        If all voices are in use.
    """

    def __init__(
        self,
        memory: SoundMemory | GeneratorMemory,
        at: float | None = None,
        gain: float = 1.0,
        pan: float = 0.0,
        loop: bool | int = False,
        group: Group | None = None,
        effects: Effects | None = None,
    ) -> None:
        output = memory.output
        gain = check_number(gain, "gain", 0, MAX_GAIN, "try 1.0")
        left, right = sides_of(pan, output.parameters.channels)
        endless = FOREVER // memory.frames
        times = min(check_times(loop, "loop") or endless, endless)
        super().__init__(output, effects)
        self._gain, self._pan = gain, float(pan)
        self.memory = memory
        self.end_index = times * memory.frames
        self._heard = 0  # once it is over
        self._was_cut = False
        self._unheard = 0  # frames that the stream's end has cut
        self._at = at
        if at is not None:
            output.when(at)  # refused before a slot is taken
        output.attach(self, memory=memory, group=group)
        memory.started(self)
        record = self.strip.record
        record["write"] = record["ended"] = self.end_index
        record["gain"] = record["gain_goal"] = gain
        record["left"] = record["left_goal"] = left
        record["right"] = record["right_goal"] = right
        self._waits = not memory.is_ready
        self._stop: tuple[float, int] | None = None  # time and fade, asked for meanwhile
        self._is_held = False  # paused meanwhile
        self.late = 0.0
        if self._waits:
            memory.when_ready(self._begin)
        else:
            self.late = self.tell(PLAY, at, frames=self._ramp)

    def _begin(self) -> None:
        """It is ready: play, unless the time to stop has passed."""
        with self.lock:
            self._waits = False
            if self._stop is not None and self.output.when(self._stop[0])[1] > 0:
                self.abandon()
                return
            self.tell(PLAY, frames=self._ramp)
            if self._is_held:
                self.tell(PAUSE)
            if self._stop is not None:
                self.tell(END, self._stop[0], frames=self._stop[1])

    def _may_tell(self, *, ending: bool = False) -> bool:
        return not self.is_gone and not self.output.is_closed

    # --- control -----------------------------------------------------------------

    def stop(self, at: float | None = None, fade: float = FADE) -> float:
        """Fade out and be over; before its time has come it never starts."""
        frames = self._frames(fade, "fade", 10)
        with self.lock:
            if self._waits:
                late = 0.0 if at is None else self.output.when(at)[1]
                if at is None or late > 0:
                    self.abandon()
                else:
                    self._stop = at, frames
                return late
            begins_later = self._at is not None and (at is None or at <= self._at)
            if begins_later and self._may_tell() and self.commands.take_back((PLAY,)):
                late = 0.0 if at is None else self.output.when(at)[1]
                self.abandon()
                return late
            return self.tell(END, at, frames=frames)

    def abandon(self) -> None:
        """Be over before it has begun."""
        with self.lock:
            self._was_cut = self.is_gone = True
        self.news()

    def pause(self, at: float | None = None) -> float:
        """Fade out and stand still."""
        self._is_held = True
        return self.tell(PAUSE, at, frames=self._ramp)

    def resume(self, at: float | None = None) -> float:
        """Fade in where a pause has left."""
        self._is_held = False
        return self.tell(RESUME, at, frames=self._ramp)

    def unbind_effects(self, *, free: bool = False) -> None:
        super().unbind_effects(free=free)
        self.memory.ended()

    def clear_with_group(self, number: int) -> None:
        """Take part in its group's clear of that number, and be over."""
        with self.lock:
            if self._may_tell():
                self.strip.set_word("group_clear", number)
                self.strip.set_word("group_skip", self.end_index)

    def level(self, seconds: float) -> Level:
        """How loud it was during the last `seconds` that were heard; see meter.py."""
        with self.lock:
            if self.is_gone or self.output.is_closed:
                return Level(0.0, 0.0)
            return self.output.level_of(self.strip.meter, seconds)

    # --- how far it is -----------------------------------------------------------

    def heard(self) -> int:
        """Frames (the device's) that were heard; all there are once it was over."""
        with self.lock:
            return self._heard if self.is_gone else self.strip.word("heard")

    def is_over(self) -> bool:
        """True once its last frame and its tail were heard, or it or its stream has ended."""
        with self.lock:
            return self.is_gone or self.strip.has("rested", self.end_index)

    def was_cut(self) -> bool:
        """True if a stop, a clear or the stream's end came before its last frame was heard."""
        with self.lock:
            return self._was_cut if self.is_gone else self._has_jumped()

    def _has_jumped(self) -> bool:
        """True if the audio thread has cut it."""
        return self.strip.word("cut_count") > 0 and self.strip.cut(0)[0] < self.end_index

    def arm_over(self) -> bool:
        """Signal the wake-up when it is over; True if it is."""
        with self.lock:
            if self.is_gone:
                return True
            self.strip.arm("rested", self.end_index)
        return self.is_over()

    # --- the end -----------------------------------------------------------------

    def let_go(self) -> None:
        """Play on, without its handle; but where it is paused, that is for good."""
        with self.lock:
            if self._may_tell() and self._stands_still():
                self.tell(END)

    def leave(self) -> None:
        """Fade out and be over, with the group that it is in."""
        self.stop()

    def give_back(self) -> None:
        """It is over: its slot may be given to others from now on."""
        with self.lock:
            if not self.is_gone:
                self._was_cut = self._has_jumped()
                self._heard = self.end_index
                self.is_gone = True
        self.news()

    def unheard(self) -> tuple[int, int]:
        """Frames that the stream's close has cut, at their rate; an endless loop has none."""
        return self._unheard, self.output.parameters.rate

    def stream_closed(self) -> None:
        """The stream has closed."""
        with self.lock:
            if not self.is_gone:
                self.is_gone = True
                jumped = self._has_jumped()
                self._heard = self.strip.word("heard")
                self._was_cut = jumped or self._heard < self.end_index
                read = self.strip.word("read")
                if read < self.end_index <= FOREVER // 2:
                    self._unheard = self.end_index - self._heard
        self.news()
