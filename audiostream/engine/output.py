"""An output: a device that plays the sum of its voices; any thread, nothing waits long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from audiostream.device.base import Device
from audiostream.engine.bell import Bell
from audiostream.engine.memory import field_offsets, power_of_two, records, ring, zeros
from audiostream.engine.stream import LOOP_BELLS, Stream, until
from audiostream.errors import AudioException, FormatError, StreamClosedError
from audiostream.pcm import Format
from audiostream.realtime.layout import CUTS, HISTORY, LINE, NEVER, PASS, VOICE

if TYPE_CHECKING:
    from audiostream.engine.voice import Voice

__all__ = ("FADE", "Output")

VOICE_OFFSETS = field_offsets(VOICE)

FADE = 0.005
"""Seconds of a fade where none is asked for: no click, and not heard as a fade."""

MAX_VOICES = 4096


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
        if (
            isinstance(voices, bool)
            or not isinstance(voices, int)
            or not 1 <= voices <= MAX_VOICES
        ):
            raise FormatError(f"voices={voices!r} is outside 1 to {MAX_VOICES}; try 256")
        self.voices = voices
        # Twice as many slots: those of voices that fade out come free a little later.
        self._slots = 2 * voices
        self.attached: dict[int, Voice] = {}
        self._retiring: dict[int, int] = {}
        self._memory: dict[int, Any] = {}

    def _entry(self) -> int:
        return self.kernels.render

    def _bell_count(self) -> int:
        return LOOP_BELLS + self._slots

    def _allocate(self) -> None:
        super()._allocate()
        self._table = records(VOICE, self._slots)
        channels = self.parameters.channels
        mix = ring(self.slice * channels, 0)
        silence = zeros(self.slice * channels, np.float32)
        ramp = ring(self.slice * channels, 0)
        ramp[:] = np.arange(1, self.slice + 1).repeat(channels)
        self._keep += [mix, silence, ramp]
        record = self.record[0]
        # Some more, to make up a full pass with silence.
        for name, dtype in LINE.items():
            array = zeros(self._slots + PASS, dtype)
            record[name] = array.ctypes.data
            self._keep.append(array)
        others = zeros(self._slots, np.int64)
        self._keep.append(others)
        record["others"] = others.ctypes.data
        record["lined_up"] = -1
        record["silence"] = silence.ctypes.data
        record["ramp"] = ramp.ctypes.data
        record["voices"] = self._table.ctypes.data
        record["mix"] = mix.ctypes.data
        record["master"] = record["master_target"] = 1.0

    def own_bell(self, slot: int) -> Bell:
        """The bell of one slot's own, for a caller thread that blocks on its voice."""
        with self.lock:
            index = LOOP_BELLS + slot
            return self._bells.get(index) or self.add_bell(index)

    # --- slots -------------------------------------------------------------------

    def voice_address(self, slot: int) -> int:
        """Address of a slot's record."""
        return int(self._table.ctypes.data) + slot * VOICE.itemsize

    def attach(self, voice: Voice, frames: int) -> None:
        """Give a voice its slot, and a ring of at least `frames` frames.

        Raises
        ------
        AudioException
            If as many voices are attached as may be.
        """
        with self.lock:
            self.check()
            if len(self.attached) >= self.voices:
                raise AudioException(
                    f"all {self.voices} voices of this output are in use; remove a sample "
                    f"first, or open it with get_output(voices={2 * self.voices})"
                )
            self._sweep()
            if len(self.attached) + len(self._retiring) >= self._slots:
                self._sweep(force=True)  # all are fading out: the oldest one is cut
            taken = self.attached.keys() | self._retiring.keys()
            free = next((slot for slot in range(self._slots) if slot not in taken), None)
            if free is None:
                raise AudioException(
                    "the voices of removed samples are still fading out, and the audio thread "
                    "does not move; try again in a moment"
                )
            capacity = power_of_two(frames + self.slice)
            channels = self.parameters.channels
            memory = ring((capacity + self.slice) * channels, free)
            history = zeros(3 * HISTORY, np.int64)
            cuts = zeros(2 * CUTS, np.int64)
            self._memory[free] = (memory, history, cuts)
            record = self._table[free]
            for field in VOICE_OFFSETS:
                record[field] = 0
            record["ring"] = memory.ctypes.data
            record["history"] = history.ctypes.data
            record["cuts"] = cuts.ctypes.data
            record["capacity"] = capacity
            record["bell"] = -1
            record["gain"] = record["gain_target"] = record["gain_goal"] = 1.0
            record["heard_offset"] = NEVER
            record["calm"] = -1
            record["wake_read"] = record["wake_heard"] = NEVER
            voice.slot, voice.address = free, self.voice_address(free)
            voice.holds = capacity - self.slice
            self.attached[free] = voice
            store = self.kernels.store_word
            store(self.voice_address(free) + VOICE_OFFSETS["active"], 1)
            if free >= self.word("voice_end"):
                store(self.address_of("voice_end"), free + 1)
            self.changed(free)

    def retire(self, slot: int) -> None:
        """Give a slot back once its voice's fade is through."""
        with self.lock:
            if self.attached.pop(slot, None) is not None:
                self._retiring[slot] = self.word_of(slot, "skip")
                self._sweep()

    def _sweep(self, *, force: bool = False) -> None:
        """Free the slots whose voices have faded out, and the oldest one if `force`."""
        if self.is_closed:
            return
        load, store = self.kernels.load_word, self.kernels.store_word
        over = []
        # A copy: what is removed by a finalizer may come in between.
        for slot, skip in list(self._retiring.items()):
            address = self.voice_address(slot)
            faded = load(address + VOICE_OFFSETS["read"]) >= skip
            if faded or force or not self._started:
                force = False
                store(address + VOICE_OFFSETS["active"], 0)
                self.changed(slot)
                over.append(slot)
        if over and self.quiet():
            for slot in over:
                if self._retiring.pop(slot, None) is None:
                    continue  # a finalizer's sweep was quicker
                del self._memory[slot]
                bell = self._bells.get(LOOP_BELLS + slot)
                if bell is not None:
                    self.drop_bell(bell)

    def changed(self, slot: int) -> None:
        """Tell the audio thread that there is something new about a slot's voice."""
        self.kernels.changed(self.address, self.voice_address(slot))

    def word_of(self, slot: int, field: str) -> int:
        """A word of a voice's record (sequentially consistent)."""
        return self.kernels.load_word(self.voice_address(slot) + VOICE_OFFSETS[field])

    def cut(self, slot: int, number: int) -> tuple[int, int]:
        """Ring indices from and to which a voice's clear number `number` has jumped."""
        cuts = self._memory[slot][2]
        place = 2 * (number % CUTS)
        return int(cuts[place]), int(cuts[place + 1])

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

    def _closed(self, gone: bool) -> None:
        for voice in list(self.attached.values()):
            voice.stream_closed()
        super()._closed(gone)
