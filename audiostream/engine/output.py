"""An output: a device that plays the sum of its voices; any thread, nothing waits long."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from audiostream.checks import check_integer
from audiostream.device.base import Callback, Device
from audiostream.device.portaudio.callback_path import CallCompiled
from audiostream.engine.bus import Bus
from audiostream.engine.memory import power_of_two, ring, zeros
from audiostream.engine.meter import Level, Meter, check_window
from audiostream.engine.slots import MAX_GROUPS, Slots
from audiostream.engine.stream import Stream, until
from audiostream.engine.strip import FADE, Strip
from audiostream.errors import AudioException, FormatError, StreamClosedError
from audiostream.pcm import Format
from audiostream.realtime.memory.layout import TABLE, TIME_INFO

if TYPE_CHECKING:
    from audiostream.engine.generator import GeneratorMemory
    from audiostream.engine.group import Group
    from audiostream.engine.sound import Playback, SoundMemory
    from audiostream.engine.voice import Voice

__all__ = ("Output", "warn_of_unheard")

BLOCKS = ("mix", "effected", "scaled", "spare")
"""Fields of the stream's blocks of float32 (max_block, channels)."""

ROWS = ("levels", "factors", "sines")
"""Fields of its float32 (max_block,)."""

MAX_VOICES = 4096

MAX_MONITORS = 8


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
        self.slots = Slots(self, voices)
        self.attached = self.slots.held
        self._monitors: list[Callback] = []
        self._cut: list[tuple[int, int]] = []  # (frames, rate) that the close has cut

    def _entry(self) -> int:
        return self.kernels.render

    def _slot_count(self) -> int:
        return self.slots.count

    def _allocate(self) -> None:
        super()._allocate()
        channels = self.parameters.channels
        record = self.record[0]
        arrays = {
            **{name: ring(self.max_block * channels, n) for n, name in enumerate(BLOCKS)},
            **{name: zeros(self.max_block, np.float32) for name in ROWS},
            "table": zeros(TABLE, np.float32),
            "monitors": zeros(MAX_MONITORS, np.int64),
            "monitor_times": np.zeros(1, TIME_INFO),
        }
        self._monitor_users = arrays["monitors"]
        self._keep += arrays.values()
        for name, array in arrays.items():
            record[name] = array.ctypes.data
        self.slots.allocate()
        record["master"] = record["master_goal"] = record["master_target"] = 1.0

    # --- slots -------------------------------------------------------------------

    def attach(
        self,
        voice: Voice | Playback,
        frames: int = 0,
        memory: SoundMemory | GeneratorMemory | None = None,
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
        with voice.effects_lock(), self.lock:
            self.check()
            if group is not None:
                if group.output is not self:
                    raise FormatError(
                        "this group is another output's; use one of this output's"
                    )
                group.check()
            slot = self.slots.reserve()
            channels = self.parameters.channels
            if memory is None:
                capacity = power_of_two(frames + self.max_block)
                samples = ring((capacity + self.max_block) * channels, slot)
            else:
                capacity, samples = memory.capacity, memory.samples
            arrays = {"ring": samples, "declick": zeros(channels, np.float32)}
            words = {"capacity": capacity, "filling": 1}
            node = getattr(memory, "node", None)
            if node is not None:
                words["generator"] = node.address
            if group is not None:
                words["group"] = group.record_address
            self.slots.occupy(slot, voice, arrays, words, group)

    def attach_group(self, group: Group, gain: float) -> None:
        """Give a group its slot, its block and its meter.

        Raises
        ------
        AudioException
            If there are as many groups as may be.
        """
        if self.slots.count_groups() >= MAX_GROUPS:
            self.tidy()
        with group.effects_lock(), self.lock:
            self.check()
            slot = self.slots.reserve(for_group=True)
            bus = Bus(self, self.slots.address(slot), slot)
            group.record, group.record_address = bus.record, bus.address
            words = {**bus.words, "gain": gain, "gain_goal": gain}
            self.slots.occupy(slot, group, {}, words)
            group.strip.arrays |= bus.arrays

    def main_strip(self) -> Strip:
        """The strip of the whole mix, for its effects; made when it is first asked for."""
        with self.lock:
            self.check()
            return self.slots.main_strip()

    def close_group(self, group: Group) -> None:
        """Take a group's voices off; its slot comes free when they have faded out."""
        for voice in self.voices_of(group):
            voice.leave()
        with self.lock:
            others = self.slots.ducked_by(group)
        for other in others:
            other.stop_ducking()
        with self.lock:
            self.slots.sweep()

    def voices_of(self, group: Group) -> list[Voice | Playback]:
        """The voices that play into a group."""
        with self.lock:
            return self.slots.members(group)

    def retire(self, slot: int) -> None:
        """Give a slot back once its voice's fade is through."""
        with self.lock:
            self.slots.release(slot)

    def tidy(self) -> None:
        """Take off what was dropped and is heard to its end.  Takes the voices' locks."""
        for one in list(self.attached.values()):
            one.sweep_effects()
            if one.is_dropped:
                one.let_go()

    def look_for_life(self) -> None:
        super().look_for_life()
        self.tidy()

    # --- meters ------------------------------------------------------------------

    def level(self, seconds: float) -> Level:
        """How loud the mix was during the last `seconds` that were heard."""
        return self._level(self.meter, seconds, self.word("now_frame") + self.word("delay"))

    def level_of(self, meter: Meter, seconds: float) -> Level:
        """How loud a strip was, with its gain and its fades but before its pan; or the mix."""
        return self._level(meter, seconds, self.word("now_frame"))

    def _level(self, meter: Meter, seconds: float, last: int) -> Level:
        """How loud it was during `seconds` before the device's frame `last`."""
        frames = round(check_window(seconds) * self.parameters.rate)
        written = self.word("frames")
        last = min(max(last, 0), written)
        peak, power = meter.total(last - frames, last, written)
        return Level.of(peak, power, frames * self.parameters.channels)

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
            warn_of_unheard(self._cut)

    def _closed(self, gone: bool) -> None:
        for voice in list(self.attached.values()):
            voice.unbind_effects(free=gone)
            voice.stream_closed()
        self._cut = [voice.unheard() for voice in self.attached.values()]
        self.attached.clear()  # each of them holds this
        if gone:
            self.slots.free_chains()
        for monitor in self._monitors:
            # As an input's device tells that its material has come to its end.
            times = int(self.record["monitor_times"][0])
            CallCompiled(self.kernels.capture)(0, 0, 0, times, 0, monitor.user)
        super()._closed(gone)
