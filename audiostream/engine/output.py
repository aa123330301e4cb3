"""An output: a device that plays the sum of its voices; any thread, nothing waits long."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from audiostream.checks import check_integer, check_number
from audiostream.device.base import Callback, Device
from audiostream.device.callback_path import CallCompiled
from audiostream.engine.bell import Bell
from audiostream.engine.commands import Commands
from audiostream.engine.memory import field_offsets, power_of_two, records, ring, zeros
from audiostream.engine.meter import LOOKED_AT, Level, check_window, peak_of
from audiostream.engine.stream import LONGEST, LOOP_BELLS, Stream, until
from audiostream.errors import AudioException, FormatError, StreamClosedError
from audiostream.pcm import Format
from audiostream.realtime.memory.layout import (
    COMMAND,
    COMMANDS,
    CUTS,
    GROUP,
    HISTORY,
    NEVER,
    TABLE,
    TIME_INFO,
    VOICE,
)
from audiostream.realtime.opcodes import PLAYING, STOPPED

if TYPE_CHECKING:
    from audiostream.engine.group import Group
    from audiostream.engine.sound import SoundMemory

__all__ = ("FADE", "Output", "warn_of_unheard")

VOICE_OFFSETS = field_offsets(VOICE)

AT_REST = {"transport": STOPPED, "declick_left": 0}
"""Words of a voice that has faded out."""

OVER = -1
"""In the place of the index up to which one that retires still fades: it is over."""

FADE = 0.005
"""Seconds of a fade where none is asked for: no click, and not heard as a fade."""

RAMPS = (
    *("transport_gain", "fade_in", "clearing"),
    *("gain", "mute", "ducking", "left", "right"),
)
"""Fields of a strip's ramps, as :data:`~audiostream.realtime.memory.layout.RAMP` lies there."""

BLOCKS = ("mix", "effected", "scaled")
"""Fields of the stream's blocks of float32 (slice, channels)."""

DAY = 86400.0
"""Seconds ahead from which on a time is taken for another clock's."""

MAX_VOICES = 4096

MAX_MONITORS = 8

MAX_GROUPS = 64


def warn_of_unheard(left: Iterable[tuple[int, int]]) -> None:
    """Say how many frames were cut, if any: (frames, rate) of each sample and sound."""
    cut = [(frames, frames / rate) for frames, rate in left if frames]
    if cut:
        logging.getLogger("audiostream").warning(
            "%d frames (%.3f s) were not heard, since their block was left first; wait at its "
            "end by drain() of a sample or finished() of a sound, or stop() what is to be cut",
            sum(frames for frames, _ in cut),
            max(seconds for _, seconds in cut),
        )


class Attached(Protocol):
    """What an output mixes; the output sets the attributes."""

    slot: int
    address: int
    commands: Commands
    is_dropped: bool

    def let_go(self) -> None:
        """It was dropped: leave as soon as nothing of it is left to be heard."""

    def is_over(self) -> bool:
        """True if it needs its slot no more."""

    def unheard(self) -> tuple[int, int]:
        """Frames that the stream's close has cut though they were to be heard; their rate."""

    def give_back(self) -> None:
        """Its slot is somebody else's from now on."""

    def stream_closed(self) -> None:
        """The stream has closed."""


class Member(Attached, Protocol):
    """What plays frames, by itself or into a group."""

    holds: int

    def leave(self) -> None:
        """Fade out and be gone."""

    def clear_with_group(self, number: int) -> None:
        """Take part in its group's clear of that number."""


class Output(Stream):
    """An output stream with its table of voices.

    Parameters
    ----------
    voices : int
        Voices that may be attached at a time, 1 to 4096.
    """

    direction = "output"

    def __init__(
        self,
        format: Format,
        buffersize: int,
        device: str | int | Device,
        voices: int = 256,
        closed_error: type[StreamClosedError] = StreamClosedError,
    ) -> None:
        super().__init__(format, buffersize, device, closed_error)
        self.voices = voices = check_integer(
            voices, "voices", "voices", least=1, most=MAX_VOICES, hint="256"
        )
        # Twice as many slots: those of voices that fade out come free a little later.
        self.slots = 2 * (voices + MAX_GROUPS)
        self.attached: dict[int, Attached] = {}
        self._retiring: dict[int, int] = {}
        self._monitors: list[Callback] = []
        self._plan: np.ndarray | None = None
        self._plans: deque[tuple[int, np.ndarray]] = deque()  # replaced ones
        self._memory: dict[int, Any] = {}
        self._groups: set[int] = set()  # slots
        self._group_of: dict[int, Group] = {}  # by the slots of its voices
        self.keys: dict[int, Group | None] = {}  # whom a group gives way to, kept alive

    def _entry(self) -> int:
        return self.kernels.render

    def _bell_count(self) -> int:
        return LOOP_BELLS + self.slots

    def _allocate(self) -> None:
        super()._allocate()
        self._table = records(VOICE, self.slots)
        channels = self.parameters.channels
        record = self.record[0]
        blocks = {name: ring(self.slice * channels, n) for n, name in enumerate(BLOCKS)}
        arrays = {
            **blocks,
            **{name: zeros(self.slice, np.float32) for name in ("levels", "factors", "sines")},
            "table": zeros(TABLE, np.float32),
            "monitors": zeros(MAX_MONITORS, np.int64),
            "monitor_times": np.zeros(1, TIME_INFO),
        }
        self._monitor_users = arrays["monitors"]
        self._keep += arrays.values()
        for name, array in arrays.items():
            record[name] = array.ctypes.data
        self._publish_plan()
        record["voices"] = self._table.ctypes.data
        record["master"] = record["master_goal"] = record["master_target"] = 1.0

    def own_bell(self, slot: int) -> Bell:
        """The bell of one slot's own, for a caller thread that blocks on its voice."""
        with self.lock:
            index = LOOP_BELLS + slot
            return self._bells.get(index) or self.add_bell(index)

    # --- slots -------------------------------------------------------------------

    def voice_address(self, slot: int) -> int:
        """Address of a slot's record."""
        return int(self._table.ctypes.data) + slot * VOICE.itemsize

    def attach(
        self,
        voice: Member,
        frames: int = 0,
        memory: SoundMemory | None = None,
        group: Group | None = None,
    ) -> None:
        """Give a voice its slot, and a ring of at least `frames` frames, or a sound's memory.

        Raises
        ------
        FormatError
            If `group` is another output's.
        AudioException
            If as many voices are attached as may be, or `group` is closed.
        """
        if len(self.attached) >= self.voices:
            self.tidy()
        with self.lock:
            self.check()
            if group is not None:
                if group.output is not self:
                    raise FormatError(
                        "this group is another output's; use one of this output's"
                    )
                group.check()
            slot = self._free_slot()
            channels = self.parameters.channels
            arrays: dict[str, Any] = {}
            if memory is None:
                capacity = power_of_two(frames + self.slice)
                arrays["ring"] = ring((capacity + self.slice) * channels, slot)
            else:
                capacity, arrays["ring"] = memory.capacity, memory.samples
            arrays["declick"] = zeros(channels, np.float32)
            words = {"capacity": capacity, "filling": 1}
            if group is not None:
                words["group"] = group.record_address
                self._group_of[slot] = group
            voice.holds = capacity - self.slice
            self._occupy(slot, voice, arrays, words)

    def _occupy(
        self,
        slot: int,
        holder: Attached,
        arrays: dict[str, Any],
        words: Mapping[str, float],
    ) -> None:
        """Fill a slot's record, with the addresses of arrays, too; under the lock."""
        arrays |= {
            "history": zeros(3 * HISTORY, np.int64),
            "cuts": zeros(2 * CUTS, np.int64),
            "commands": records(COMMAND, COMMANDS),
        }
        record = self._table[slot]
        self._table[slot] = np.zeros((), VOICE)
        for name, array in arrays.items():
            record[name] = array.ctypes.data
        meter = self.new_meter()
        record["address"] = self.voice_address(slot)
        record["meter"], record["meter_mask"] = meter.address, meter.mask
        self._memory[slot] = {**arrays, "meter": meter}
        record["ramp"] = round(FADE * self.parameters.rate)
        record["wakeup"] = -1
        for field in RAMPS:
            record[field] = record[field + "_goal"] = 1.0
        record["wake_read"] = record["wake_heard"] = NEVER
        for name, word in words.items():
            record[name] = word
        holder.slot, holder.address = slot, self.voice_address(slot)
        holder.commands = Commands(self, slot, arrays["commands"])
        self.attached[slot] = holder
        self.set_word_of(slot, "active", 1)
        if slot >= self.word("voice_end"):
            self.kernels.store_word(self.address_of("voice_end"), slot + 1)

    # --- groups ------------------------------------------------------------------

    def attach_group(self, group: Group, gain: float) -> None:
        """Give a group its slot, its block and its meter.

        Raises
        ------
        AudioException
            If there are as many groups as may be.
        """
        if len(self._groups) >= MAX_GROUPS:
            self.tidy()
        with self.lock:
            self.check()
            slot = self._free_slot(for_group=True)
            channels = self.parameters.channels
            table = records(GROUP, 1)
            block = ring(self.slice * channels, slot)
            sounding = zeros(self.slice + 1, np.int64)
            record = table[0]
            record["voice"] = self.voice_address(slot)
            record["frame"] = -1
            record["block"] = block.ctypes.data
            record["sounding"] = sounding.ctypes.data
            group.record, group.record_address = record, int(table.ctypes.data)
            self._groups.add(slot)
            words: dict[str, float] = {"bus": group.record_address, "gain": gain}
            words |= {"gain_goal": gain, "sounding": 1, "transport": PLAYING}
            self._occupy(slot, group, {}, words)
            self._memory[slot] |= {"group": [table, block, sounding]}
            self._publish_plan()

    def _publish_plan(self) -> None:
        """Tell the audio thread which groups there are; under the lock.

        A plan that was replaced is kept until no callback can be in it.
        """
        groups = [int(self._table[slot]["bus"]) for slot in sorted(self._groups)]
        plan = np.array([len(groups), *groups], np.int64)
        store, load = self.kernels.store_word, self.kernels.load_word
        left = load(self.address_of("left"))
        while self._plans and self._plans[0][0] <= left:
            self._plans.popleft()
        store(self.address_of("plan"), int(plan.ctypes.data))
        entered = load(self.address_of("entered"))
        if self._plan is not None:
            self._plans.append((entered, self._plan))
        self._plan = plan

    def voices_of(self, group: Group) -> list[Member]:
        """The voices that play into a group."""
        with self.lock:
            slots = [slot for slot, one in self._group_of.items() if one is group]
            return [self.attached[slot] for slot in slots if slot in self.attached]  # type: ignore[misc]

    def has_voices(self, group: Group) -> bool:
        """True while voices play into a group, or fade out in it, or it is given way to."""
        return group in self._group_of.values() or group in self.keys.values()

    def close_group(self, group: Group) -> None:
        """Take a group's voices off; its slot comes free when they have faded out."""
        for voice in self.voices_of(group):
            voice.leave()
        with self.lock:
            others = [
                self.attached.get(slot) for slot, key in self.keys.items() if key is group
            ]
        for other in others:
            if other is not None:
                other.give_way_no_more()  # type: ignore[attr-defined]
        with self.lock:
            self._sweep()

    def _free_slot(self, *, for_group: bool = False) -> int:
        """A slot that nobody uses; under the lock."""
        self._sweep()
        if for_group and len(self._groups) >= MAX_GROUPS:
            raise AudioException(f"an output has {MAX_GROUPS} groups at most; close one first")
        if not for_group and len(self.attached.keys() - self._groups) >= self.voices:
            raise AudioException(
                f"all {self.voices} voices of this output are in use; remove a sample "
                f"first, or open it with get_output(voices={2 * self.voices})"
            )
        if len(self.attached) + len(self._retiring) >= self.slots:
            self._sweep(force=True)  # all are fading out: the oldest one is cut
        taken = self.attached.keys() | self._retiring.keys()
        free = next((slot for slot in range(self.slots) if slot not in taken), None)
        if free is None:
            raise AudioException(
                "the voices of removed samples are still fading out, and the audio thread "
                "does not move; try again in a moment"
            )
        return free

    def retire(self, slot: int) -> None:
        """Give a slot back once its voice's fade is through."""
        with self.lock:
            if self.attached.pop(slot, None) is not None:
                self._retiring[slot] = self.word_of(slot, "skip")
                self._sweep()

    def tidy(self) -> None:
        """Take off what was dropped and is heard to its end.  Takes the voices' locks."""
        for one in list(self.attached.values()):
            if one.is_dropped:
                one.let_go()

    def look_for_life(self) -> None:
        super().look_for_life()
        self.tidy()

    def _sweep(self, *, force: bool = False) -> None:
        """Free the slots whose voices have faded out, and the oldest one if `force`."""
        if self.is_closed:
            return
        for slot, voice in list(self.attached.items()):
            if voice.is_over():
                self.attached.pop(slot, None)
                voice.give_back()
                self._retiring[slot] = OVER
        store = self.kernels.store_word
        over = []
        # A copy: what is removed by a finalizer may come in between.
        for slot, skip in list(self._retiring.items()):
            address = self.voice_address(slot)
            faded = skip == OVER or (
                self.word_of(slot, "read") >= skip
                and all(self.word_of(slot, name) == idle for name, idle in AT_REST.items())
            )
            if faded or force or not self._started:
                force = False
                store(address + VOICE_OFFSETS["active"], 0)
                over.append(slot)
        if self._groups.intersection(over):
            self._groups.difference_update(over)
            self._publish_plan()
        if over and self.quiet():
            for slot in over:
                if self._retiring.pop(slot, None) is None:
                    continue  # a finalizer's sweep was quicker
                del self._memory[slot]
                self._group_of.pop(slot, None)
                self.keys.pop(slot, None)
                bell = self._bells.get(LOOP_BELLS + slot)
                if bell is not None:
                    self.drop_bell(bell)

    def word_of(self, slot: int, field: str) -> int:
        """A word of a voice's record (sequentially consistent)."""
        return self.kernels.load_word(self.voice_address(slot) + VOICE_OFFSETS[field])

    def set_word_of(self, slot: int, field: str, value: int) -> None:
        """Set a word of a voice's record (sequentially consistent)."""
        self.kernels.store_word(self.voice_address(slot) + VOICE_OFFSETS[field], value)

    def when(self, at: float) -> tuple[float, float]:
        """A time of this stream for the audio thread, and by how much it is late already.

        Raises
        ------
        FormatError
            If it is no finite number, or more than a day ahead: a time of another clock.
        """
        hint = "seconds on the stream's clock, try stream.time + 0.5"
        at = check_number(at, "at", -LONGEST, LONGEST, hint)
        time = at + self.epoch
        next_heard = self.kernels.heard_at(self.address, self.word("frames")) * 1e-9
        if next_heard < 0:  # there was no block yet
            next_heard = self.now() + self.epoch + self.parameters.latency
        late = next_heard - time
        if late < -DAY:
            self._check_clock(float(at))
        # A nanosecond is forgiven to the clock's floating point; 0 would be "now".
        return time or -1.0, late if late > 1e-9 else 0.0

    def _check_clock(self, at: float) -> None:
        """Raise if a time is more than a day ahead; what was heard last may be long ago."""
        now = self.now()
        if at - now > DAY:
            raise FormatError(
                f"at={at!r} is more than a day ahead: the output's clock (its .time) is at "
                f"{now:.3f} s, time.time() at {time.time():.3f}, time.monotonic() at "
                f"{time.monotonic():.3f}; give output.time + seconds, or "
                "output.from_monotonic(t) for a time of time.monotonic()"
            )

    def frame_of(self, slot: int, index: int) -> int | None:
        """The device's frame with which a voice's ring index was heard, if that is known."""
        history = self._memory[slot]["history"].reshape(HISTORY, 3)
        head = self.word_of(slot, "history_head")
        for number in range(head - 1, max(head - HISTORY, 0) - 1, -1):
            frame, begin, running = history[number % HISTORY].tolist()
            if running and begin <= index:
                return int(frame + index - begin)
        return None

    def ring_of(self, slot: int) -> np.ndarray:
        """A voice's ring, float32, flat; its first frames are there twice."""
        memory: np.ndarray = self._memory[slot]["ring"]
        return memory

    def cut(self, slot: int, number: int) -> tuple[int, int]:
        """Ring indices from and to which a voice's clear number `number` has jumped."""
        cuts = self._memory[slot]["cuts"]
        place = 2 * (number % CUTS)
        return int(cuts[place]), int(cuts[place + 1])

    # --- meters ------------------------------------------------------------------

    def _window(self, seconds: float) -> tuple[int, int]:
        """The device's frames that were heard in the last `seconds`; and how many those are."""
        frames = round(check_window(seconds) * self.parameters.rate)
        last = max(self.word("now_frame"), 0)
        return last, frames

    def level(self, seconds: float) -> Level:
        """How loud the mix was during the last `seconds` that were heard."""
        last, frames = self._window(seconds)
        peak, power = self.meter.total(last - frames, last, self.word("frames"))
        return Level.of(peak, power, frames * self.parameters.channels)

    def level_of(self, slot: int, seconds: float) -> Level:
        """How loud a strip was, with its gain and its fades but before its pan."""
        last, frames = self._window(seconds)
        meter = self._memory[slot]["meter"]
        peak, power = meter.total(last - frames, last, self.word("frames"))
        return Level.of(peak, power, frames * self.parameters.channels)

    def peak_written(self, slot: int, first: int, last: int) -> float:
        """The peak of some of what was written to a voice, from one ring index to another."""
        capacity = int(self._table[slot]["capacity"])
        ring = self._memory[slot]["ring"].reshape(-1, self.parameters.channels)
        first = max(first, last - capacity)
        frames = np.arange(first, last, (last - first) // LOOKED_AT | 1)
        return peak_of(ring[frames % capacity])

    # --- monitors ----------------------------------------------------------------

    def add_monitor(self, callback: Callback) -> None:
        """Have the mix handed to a capture's callback, too, block by block.  Idempotent."""
        with self.lock:
            self.check()
            if callback not in self._monitors:
                if len(self._monitors) == MAX_MONITORS:
                    raise AudioException(
                        f"{MAX_MONITORS} monitors listen to this output; close one first"
                    )
                self._set_monitors([*self._monitors, callback])

    def remove_monitor(self, callback: Callback) -> None:
        """Have it handed there no more; when this returns, no call is under way."""
        with self.lock:
            if callback in self._monitors:
                self._set_monitors([one for one in self._monitors if one is not callback])

    def _set_monitors(self, monitors: list[Callback]) -> None:
        self._monitors = monitors
        if self.is_open and not self.is_closed:
            store = self.kernels.store_word
            store(self.address_of("monitor_count"), 0)
            self.quiet()
            for number, monitor in enumerate(monitors):
                self._monitor_users[number] = monitor.user
            store(self.address_of("monitor_count"), len(monitors))

    # --- the whole mix -----------------------------------------------------------

    def fade_out(self, seconds: float = FADE) -> None:
        """Fade the whole mix to silence and wait for it, a few blocks at the most."""
        stream = self._device_stream
        if stream is None or not self._started or not stream.realtime or not stream.alive():
            return
        frames = max(int(seconds * self.parameters.rate), 1)
        record = self.record[0]
        record["master_target"] = 0.0
        record["master_frames"] = frames
        before = self.word("frames")
        self.kernels.store_word(
            self.address_of("master_change"), self.word("master_change") + 1
        )
        period = self.parameters.buffersize
        # One block may be under way that has not seen the change.
        needed = before + frames + 2 * period
        limit = min(0.5, 10 * (frames + period) / self.parameters.rate + 0.05)
        until(lambda: self.word("frames") >= needed, limit)

    def close(self) -> None:
        """Fade out, stop, give everything back; see :meth:`Stream.close`."""
        with self.lock:
            if not self.is_closed and self.is_open:
                self.fade_out()
        super().close()

    def warn_if_cut(self) -> None:
        if not (self.is_excused or self.is_instant):
            warn_of_unheard([one.unheard() for one in self.attached.values()])

    def _closed(self, gone: bool) -> None:
        for voice in list(self.attached.values()):
            voice.stream_closed()
        for monitor in self._monitors:
            # As an input's device tells that its material has come to its end.
            times = int(self.record["monitor_times"][0])
            CallCompiled(self.kernels.capture)(0, 0, 0, times, 0, monitor.user)
        super()._closed(gone)
