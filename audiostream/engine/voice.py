"""A voice: one ring into the mixer, its conversions and its counts; any thread.

Every operation here is the half that does not wait.  A voice's lock makes its callers
the one producer that the ring wants.
"""

from __future__ import annotations

import contextlib
import math
import threading
from typing import Any

import numpy as np

from audiostream.engine.bell import Bell
from audiostream.engine.intake import Samples, address_of, of_bytes, samples_of
from audiostream.engine.ledger import Counts, Ledger
from audiostream.engine.memory import records
from audiostream.engine.output import FADE, VOICE_OFFSETS, Output
from audiostream.engine.resampler import resampler
from audiostream.errors import AudioException, FormatError
from audiostream.pcm import Format
from audiostream.realtime.layout import PRODUCER

__all__ = ("MAX_BUFFER", "Voice")

MAX_BUFFER = 120.0
"""Seconds of audio that a voice's ring may hold."""

KINDS = {np.dtype(np.int8): 8, np.dtype(np.int16): 16, np.dtype(np.float32): 32}
"""What is written as it is: dtype -> encoding."""

STOPPED, PLAYING, STOPPING = 0, 1, 2
"""A voice's ``playing`` word; STOPPING plays until the clear that it came with is done."""


class Voice:
    """One voice of an output.

    Parameters
    ----------
    output : Output
        Open.
    format : Format
        What will be written.
    buffer : float
        Seconds of audio that may be queued.
    least : int
        Frames (the device's) that the ring holds at least.

    Raises
    ------
    FormatError
        If `buffer` is outside 0 to 120 seconds.
    AudioException
        If all voices are in use.
    """

    # Set by the output when it attaches the voice.
    slot: int
    address: int
    holds: int  # frames that the ring takes at most

    def __init__(self, output: Output, format: Format, buffer: float, least: int = 1) -> None:
        if not 0 < buffer <= MAX_BUFFER:
            raise FormatError(
                f"buffer={buffer!r} seconds is outside 0 to {MAX_BUFFER:g}; try 0.25"
            )
        self.output = output
        self.format = format
        self.lock = threading.RLock()
        rate = output.parameters.rate
        self._channels = output.parameters.channels
        self._ratio = format.rate / rate
        self._limit = max(math.ceil(buffer * rate), least, 1)
        self._room = self._limit
        self._resampler: Any = None
        if format.rate != rate:
            middle = min(format.channels, self._channels)
            self._resampler = resampler(output.kernels, format.rate, rate, middle)
        self._carry = b""
        self._into = 0  # own frames that this segment's resampler took
        self._out_of = 0  # frames that it gave
        self._ledger = Ledger(self._ratio)
        self._cuts_seen = 0
        self._final: Counts | None = None
        self._gain = 1.0
        self.epoch = 0
        self._bell: Bell | None = None
        self._store = output.kernels.store_word
        self._load = output.kernels.load_word
        # What a resampler holds back and then gives at once goes beyond the limit.
        held = self._resampler.held_back() if self._resampler is not None else 0
        output.attach(self, self._limit + held)
        self._armed = output.address_of("armed")
        self._width = format.frame_bytes
        self._own = np.dtype(format.dtype)
        self._producers = records(PRODUCER, len(KINDS))
        self._producer_of: dict[Any, int] = {}
        for number, (dtype, encoding) in enumerate(KINDS.items()):
            record = self._producers[number : number + 1]
            record[0] = output.address, self.address, self._limit, encoding, format.channels
            self._producer_of[dtype] = int(record.ctypes.data)

    def _at(self, field: str) -> int:
        return self.address + VOICE_OFFSETS[field]

    def _word(self, field: str) -> int:
        return self._load(self._at(field))

    def _heard(self) -> int:
        """The ring index that is heard now."""
        return self.output.kernels.heard_now(self.output.address, self.address)

    @property
    def is_gone(self) -> bool:
        """True once the voice was removed, or its stream closed."""
        return self._final is not None

    # --- counts ------------------------------------------------------------------

    def _settle(self) -> None:
        """Book what the audio thread has read and cleared since the last look."""
        # In this order: a jump is told before the index that it led to.
        read = self._word("read")
        executed = self._word("cut_count")
        for number in range(self._cuts_seen, executed):
            start, to = self.output.cut(self.slot, number)
            self._ledger.note_cut(start, to)
        self._cuts_seen = executed
        self._ledger.note_read(read)

    def counts(self) -> Counts:
        """The counts, as of the last block."""
        with self.lock:
            if self._final is not None:
                return self._final
            heard = self._heard()
            self._settle()
            return self._ledger.counts(heard)

    @property
    def starved(self) -> int:
        """Frames of silence (the device's) that stood in for frames not there in time."""
        return int(self.output._table[self.slot]["starved"]) if not self.is_gone else 0

    # --- writing -----------------------------------------------------------------

    def room(self) -> int:
        """Frames (the device's) that the ring takes now."""
        return self._limit - (self._word("write") - self._word("read"))

    def _takes(self) -> int:
        """Own frames that can be written now."""
        room = self.room()
        if self._resampler is None:
            return max(room, 0)
        # The ring has room beyond its limit for what the resampler holds back, which may
        # come at any time, an end at the latest.
        beyond = self.holds - self._limit + room
        safe = math.floor((beyond + self._out_of) * self._ratio) - self._into - 2
        return max(min(math.ceil(room * self._ratio), safe), 0)

    def write_nowait(self, data: Any) -> int:
        """Take as much as there is room for.

        Parameters
        ----------
        data : bytes-like, or ndarray (frames,) or (frames, channels)
            int8, int16 or float32.

        Returns
        -------
        int
            What was taken: bytes of bytes-like data, frames of an array.

        Raises
        ------
        TypeError
            If it is neither.
        FormatError
            For a shape or dtype that does not fit.
        StreamClosedError, DeviceError
            If the stream is closed or its device gone.
        """
        producer, source, frames = self._as_it_is(data)
        if frames:
            with self.lock:
                self.check()
                if not self._carry:
                    count = self.output.kernels.put_more(producer, source, frames)
                    self._ledger.written += count
                    return count * self._width if source is data else count
        what = samples_of(data, self.format)
        with self.lock:
            self.check()
            if isinstance(what, memoryview):
                return self._take_bytes(what)
            if self._carry:
                raise FormatError(
                    f"{len(self._carry)} byte(s) of an unfinished frame are waiting; write the "
                    "frame's other bytes, or end(), before an array"
                )
            return self._take(what)

    def _as_it_is(self, data: Any) -> tuple[int, Any, int]:
        """What most writes bring, as the kernel takes it: by whom, from where, frames.

        No frames: it needs a closer look.
        """
        if self._resampler is None:
            if type(data) is bytes:
                frames, part = divmod(len(data), self._width)
                return self._producer_of[self._own], data, 0 if part else frames
            if type(data) is np.ndarray and data.flags.carray:
                producer = self._producer_of.get(data.dtype)
                channels = self.format.channels
                fits = data.shape[1:] == (channels,) or (data.ndim == 1 and channels == 1)
                if producer is not None and fits and data.size:
                    return producer, address_of(data), len(data)
        return 0, None, 0

    def check(self) -> None:
        """Raise if the voice is removed, or its stream closed or dead."""
        self.output.check()
        if self._final is not None:
            raise self.output.closed_error(
                "this sample was removed from its output; add it again, or make another one"
            )

    def _take_bytes(self, data: memoryview) -> int:
        width = self.format.frame_bytes
        taken = 0
        if self._carry:
            missing = width - len(self._carry)
            frame = self._carry + bytes(data[:missing])
            if len(frame) < width:
                self._carry = frame
                return len(data)
            if not self._take(of_bytes(frame, self.format)):
                return 0
            self._carry = b""
            taken = missing
        frames = (len(data) - taken) // width
        done = 0
        if frames:
            done = self._take(of_bytes(data[taken : taken + frames * width], self.format))
            taken += done * width
        # A part of a frame is taken only with room for the frame, so that an end can
        # always complete it.
        if done == frames and len(data) > taken and self._takes() > 0:
            self._carry = bytes(data[taken:])
            taken = len(data)
        return taken

    def _take(self, samples: Samples) -> int:
        """Convert as many frames as there is room for into the ring."""
        if self._resampler is None:
            count = self._put(samples, self._limit)
        else:
            count = min(samples.frames, self._takes())
            if count > 0:
                self._resample(samples, count)
        self._ledger.written += count
        return count

    def _put(self, samples: Samples, limit: int) -> int:
        """Frames that were put into the ring, of which there may then be `limit`."""
        return self.output.kernels.put(
            self.output.address,
            self.address,
            limit,
            samples.address,
            samples.encoding,
            samples.channels,
            samples.frames,
        )

    def _resample(self, samples: Samples, frames: int) -> None:
        middle = min(samples.channels, self._channels)
        block = np.empty((frames, middle), np.float32)
        self.output.kernels.spread(
            block.ctypes.data,
            middle,
            samples.address,
            samples.encoding,
            samples.channels,
            frames,
        )
        self._into += frames
        self._flow(block, last=False)

    def _flow(self, block: np.ndarray, *, last: bool) -> None:
        assert self._resampler is not None
        out = self._resampler.resample_chunk(block, last=last)
        if len(out):
            self._out_of += len(out)
            put = self._put(Samples(out, out.shape[1], 32), self.holds)
            assert put == len(out), "the ring has room for what a resampler holds back"

    # --- utterances --------------------------------------------------------------

    def _begin_anew(self, *, whole: bool) -> None:
        """What is written next has nothing to do with what came before."""
        self._ledger.close_segment(self._word("write"), whole=whole)
        self._into = self._out_of = 0
        if self._resampler is not None:
            self._resampler.clear()

    def end(self) -> None:
        """Complete the frame, flush the resampler; running dry after it is no shortage."""
        with self.lock:
            self.check()
            if self._carry:
                frame = self._carry.ljust(self.format.frame_bytes, b"\0")
                self._take(of_bytes(frame, self.format))
                self._carry = b""
            if self._resampler is not None and self._into:
                middle = min(self.format.channels, self._channels)
                self._flow(np.zeros((0, middle), np.float32), last=True)
                self._begin_anew(whole=True)
            self._store(self._at("ended"), self._word("write"))

    def clear(self, fade: float = FADE) -> int:
        """Ask for all that is not heard yet to be dropped.

        Returns
        -------
        int
            The ring index that the audio thread will have read up to when it is done.
        """
        if not 0 <= fade <= 10:
            raise FormatError(f"fade={fade!r} is outside 0 to 10 seconds; try 0.005")
        with self.lock:
            self.check()
            self._settle()
            self._carry = b""
            write = self._word("write")
            self._begin_anew(whole=False)
            frames = round(fade * self.output.parameters.rate)
            self.output._table[self.slot]["fade"] = frames
            self._store(self._at("ended"), write)
            self._store(self._at("skip"), write)
            self._changed()
            self.epoch += 1
        self.news()
        return write

    def cleared_to(self, index: int) -> int:
        """Own frames heard up to a clear's ring index, once it is done."""
        with self.lock:
            if self._final is not None:
                return self._final.position
            self._settle()
            return self._ledger.heard_before(index)

    # --- control -----------------------------------------------------------------

    def play(self) -> None:
        """Play what is queued, from the next block on.  Idempotent."""
        with self.lock:
            self.check()
            self._store(self._at("playing"), PLAYING)
            self._changed()

    def stop(self, fade: float = FADE) -> None:
        """Fade out, drop what is queued, play no more.  Idempotent."""
        with self.lock:
            self.check()
            self.clear(fade)
            self._store(self._at("playing"), STOPPING)
            self._changed()

    @property
    def is_playing(self) -> bool:
        """True between a play and a stop."""
        return not self.is_gone and self._word("playing") == PLAYING

    @property
    def gain(self) -> float:
        """Factor on the samples; 1.0 leaves them bit for bit."""
        return self._gain

    def set_gain(self, gain: float, seconds: float = FADE) -> None:
        """Go to another gain, in a straight line over `seconds`.

        Raises
        ------
        FormatError
            If it is no finite number, or negative.
        """
        if not (isinstance(gain, int | float) and math.isfinite(gain) and gain >= 0):
            raise FormatError(f"gain={gain!r} is no finite number of at least 0; try 1.0")
        with self.lock:
            self.check()
            self._gain = float(gain)
            record = self.output._table[self.slot]
            record["gain_target"] = self._gain
            record["gain_frames"] = round(seconds * self.output.parameters.rate)
            self._changed()

    def _changed(self) -> None:
        """Tell the audio thread, under the lock, that there is something new to look at."""
        self.output.changed(self.slot)

    # --- waiting, for those above ------------------------------------------------

    def set_limit(self, frames: int | None) -> None:
        """Hold at most `frames` own frames from now on, or as many as the ring does.

        That are two of the device's blocks at least.
        """
        with self.lock:
            limit = self._room
            if frames is not None:
                wanted = max(math.ceil(frames / self._ratio), 2 * self.output.period)
                limit = min(limit, wanted)
            self._limit = limit
            self._producers["limit"] = limit

    def wants_room(self, frames: int) -> int:
        """The read index at which `frames` own frames, or half a ring, can be taken."""
        wanted = min(math.ceil(frames / self._ratio), max(self._limit // 2, 1))
        write = self._word("write")
        # Never beyond what there is to read: the ring may have run dry meanwhile.
        return min(write - self._limit + wanted, write)

    @property
    def refill(self) -> int:
        """Own frames, half a ring, for which it is worth while to wake a task.

        To wait for no more than its next chunk wakes a task that writes 20 ms at a time
        six times as often, which of 200 such tasks is most of what they cost.
        """
        return math.ceil(self._limit * self._ratio / 2)

    def arm_read(self, index: int) -> bool:
        """Have the bell rung when the ring was read up to `index`; True if it is."""
        return self._arm("wake_read", "read", index)

    def arm_heard(self, index: int) -> bool:
        """Have the bell rung when `index` was heard; True if it is."""
        # The record's word is as old as the last break or the last waiter.
        return self._arm("wake_heard", "heard", index) or self.has_heard(index)

    def _arm(self, wake: str, field: str, index: int) -> bool:
        kernels = self.output.kernels
        return bool(kernels.arm(self._at(wake), self._at(field), index, self._armed))

    def write_index(self) -> int:
        """The ring index behind what was written."""
        return self._word("write")

    def has_read(self, index: int) -> bool:
        """True if the audio thread has read up to `index`."""
        return self._word("read") >= index

    def has_heard(self, index: int) -> bool:
        """True if `index` was heard."""
        return self._heard() >= index

    def use_bell(self, bell: Bell) -> None:
        """The bell that the audio thread rings for this voice from now on."""
        self._bell = bell
        if not self.is_gone and not self.output.is_closed:
            self._store(self._at("bell"), bell.index)

    def own_bell(self) -> Bell | None:
        """A bell for the one thread that blocks on this voice; None once it is gone."""
        with self.lock:
            if self._final is not None:
                return None
            if self._bell is None:
                self.use_bell(self.output.own_bell(self.slot))
            return self._bell

    def news(self) -> None:
        """Have whoever waits on this voice look again; any thread."""
        bell = self._bell
        if bell is not None:
            bell.ring_all()

    # --- the end -----------------------------------------------------------------

    def remove(self) -> None:
        """Fade out, and give the slot back.  Idempotent."""
        with self.lock:
            if self._final is not None or self.output.is_closed:
                return
            with contextlib.suppress(AudioException):  # of a device that is gone
                self.stop()
            self._finish()
        self.output.retire(self.slot)
        self.news()

    def stream_closed(self) -> None:
        """The stream has closed: what was not heard counts as cleared."""
        with self.lock:
            if self._final is None:
                self._finish()
            self.epoch += 1
        self.news()

    def _finish(self) -> None:
        self._resampler = None
        counts = self.counts()
        left = counts.buffered
        self._final = Counts(counts.written, counts.position, counts.cleared + left)
