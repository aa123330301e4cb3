"""A voice: one ring into the mixer, its conversions and its counts; any thread.

Every operation here is the half that does not wait.  A voice's lock makes its callers
the one producer that the ring wants.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostream.checks import check_choice, check_number
from audiostream.engine.bell import Bell
from audiostream.engine.commands import ALIKE
from audiostream.engine.controls import Controls
from audiostream.engine.conversion import Conversion
from audiostream.engine.intake import (
    Encoded,
    Samples,
    of_bytes,
    samples_of,
    sliceable,
    spread,
)
from audiostream.engine.ledger import Counts, Ledger
from audiostream.engine.memory import records
from audiostream.engine.meter import Level, warn_if_too_loud
from audiostream.engine.output import FADE, VOICE_OFFSETS, Output
from audiostream.engine.prebuffer import Prebuffer
from audiostream.errors import AudioException, FormatError
from audiostream.pcm import Format
from audiostream.realtime.memory.layout import PRODUCER
from audiostream.realtime.opcodes import END, PAUSE, PLAY, PLAYING, RESUME, STOP

if TYPE_CHECKING:
    from audiostream.engine.group import Group

__all__ = ("MAX_BUFFER", "Joint", "Voice")

MAX_BUFFER = 120.0
"""Seconds of audio that a voice's ring may hold."""

KINDS = {np.dtype(np.int8): 8, np.dtype(np.int16): 16, np.dtype(np.float32): 32}
"""What is written as it is: dtype -> encoding."""

COPIED = 4096
"""Samples of an array up to which a copy costs less than to ask where they are."""

MOVES = (PLAY, END, PAUSE, RESUME)
"""Commands that a stop takes back if their time is still to come."""


STARVE = ("silence", "rebuffer")
"""What a voice may do where it has run dry: play on as soon as there is anything, or wait for
its prebuffer again."""

ADAPTIVE = (0.06, 1.0)
"""Seconds between which an adaptive prebuffer moves."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A point that was marked in what is written, and was heard.

    Attributes
    ----------
    name : object
        As it was given.
    position : int
        Frames heard before it, at the sample's own rate.
    time : float
        When it was heard: seconds on the stream's clock.
    """

    name: Any
    position: int
    time: float


@dataclass(frozen=True, slots=True)
class _Mark:
    """A mark that waits: the own frames written before it, its ring index, and when to tell."""

    name: Any
    written: int
    index: int
    reached: int


@dataclass(slots=True)
class Joint:
    """A place in a voice's ring from which on what is not played yet may be made again.

    ``index`` and ``written`` are where that is, ``end`` and ``written_end`` up to where the
    ring was written: with what a resampler made without knowing what would follow.
    """

    conversion: Conversion
    state: Any
    epoch: int
    index: int
    written: int
    end: int = 0
    written_end: int = 0


class Voice(Controls):
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
    prebuffer : float or "adaptive"
        Seconds that are there before it starts, or all of an utterance that has ended; see
        :class:`~audiostream.engine.prebuffer.Prebuffer`.
    quality, matrix
        See :class:`~audiostream.engine.conversion.Conversion`.
    on_starve : str
        "silence", or "rebuffer" to wait for the prebuffer again where it has run dry.
    group : Group, optional
        What it plays into.
    tail : bool
        False: where it runs dry there is silence at once, as the blocking API is documented.

    Raises
    ------
    FormatError
        If `buffer` is outside 0 to 120 seconds, `prebuffer` is not within the buffer, or
        `on_starve` is another word.
    AudioException
        If all voices are in use.
    """

    holds: int  # frames that the ring takes at most; set by the output

    def __init__(
        self,
        output: Output,
        format: Format,
        buffer: float,
        least: int = 1,
        prebuffer: float | str = 0.0,
        on_starve: str = "silence",
        tail: bool = True,
        quality: str = "high",
        matrix: Any = None,
        group: Group | None = None,
    ) -> None:
        buffer = check_number(buffer, "buffer", 1e-6, MAX_BUFFER, "seconds, try 0.25")
        check_choice(on_starve, "on_starve", STARVE)
        ahead = _prebuffer(prebuffer, buffer, output.parameters.rate)
        super().__init__(output)
        rate = output.parameters.rate
        self._channels = output.parameters.channels
        conversion = self._conversion_of(format, quality, matrix)
        self._limit = max(math.ceil(buffer * rate), least, 1)
        self._longest = self._room = self._limit
        self._carry = b""
        self._ledger = Ledger(conversion.ratio)
        self._look_at: float = 0  # own frames written at the next look at their scale
        self._looked_at = 0  # the ring index at the last one
        self._cuts_seen = 0
        self._final: Counts | None = None
        self._has_warned = False
        # Its generator still runs, or a wait for it was cancelled: what is queued may be cut.
        self.may_be_cut = False
        self._unheard = 0  # own frames that were queued at the end
        self._stops_seen = 0
        self._is_left = False  # it was dropped, and ended
        self.epoch = 0
        self._bell: Bell | None = None
        self._store = output.kernels.store_word
        self._load = output.kernels.load_word
        self._put_more = output.kernels.write_more
        self._arm_room = output.kernels.request_room
        # What a resampler holds back and then gives at once goes beyond the limit.
        output.attach(self, self._limit + conversion.held_back(), group=group)
        self._marks: deque[_Mark] = deque()
        self._prebuffer = ahead
        self._adapts = isinstance(prebuffer, str)
        self._tail = tail
        self._stop_count = self._at("stop_count")
        self._store(self._at("ramp"), self._ramp if tail else 0)
        self._store(self._at("prebuffer"), ahead.frames)
        self._store(self._at("rebuffer"), int(on_starve == "rebuffer"))
        self._armed = output.address_of("armed")
        self._producers = records(PRODUCER, len(KINDS))
        self._producer = int(self._producers.ctypes.data)
        for number, encoding in enumerate(KINDS.values()):
            self._producers[number] = (
                output.address, self.address, self._limit, encoding, format.channels
            )  # fmt: skip
        self._use(conversion)

    def _conversion_of(self, format: Format, quality: str, matrix: Any) -> Conversion:
        output = self.output
        # A matrix makes the channels that were asked of the output, which the ring then spreads
        # over those of a device that has others.
        channels = self._channels if matrix is None else output.format.channels
        return Conversion(
            output.kernels, format, output.parameters.rate, channels, quality, matrix
        )

    def _use(self, conversion: Conversion) -> None:
        """What is written from now on is converted like this."""
        self._conversion = conversion
        self.format = format = conversion.source
        self._ratio = conversion.ratio
        self._width = format.frame_bytes
        self._own = np.dtype(format.dtype)
        self._producers["channels"] = format.channels
        step = self._producers.itemsize
        kinds = KINDS if conversion.is_plain else ()
        self._straight = {kind: self._producer + step * at for at, kind in enumerate(kinds)}

    def _at(self, field: str) -> int:
        return self.address + VOICE_OFFSETS[field]

    def _word(self, field: str) -> int:
        return self._load(self._at(field))

    def _heard(self) -> int:
        """The ring index that is heard now."""
        return self._word("heard")

    def read_index(self) -> int:
        """The ring index up to which the audio thread has read."""
        return self._word("read")

    @property
    def is_gone(self) -> bool:
        """True once the voice was removed, or its stream closed."""
        return self._final is not None

    # --- counts ------------------------------------------------------------------

    def _settle(self) -> None:
        """Book what the audio thread has read and cleared since the last look."""
        # In this order: a jump is told before the index that it led to.
        read = self.read_index()
        executed = self._word("cut_count")
        stops = self._word("stop_count")
        for number in range(self._cuts_seen, executed):
            start, to = self.output.cut(self.slot, number)
            if stops != self._stops_seen:
                self._pull_marks(to)
            self._ledger.split(to)
            self._ledger.note_cut(start, to)
            self._marks = deque(mark for mark in self._marks if not start < mark.reached <= to)
        self._cuts_seen = executed
        self._ledger.note_read(read)
        if stops != self._stops_seen:
            self._stops_seen = stops
            self.epoch += 1
            if read == self._word("write"):  # nothing was written since
                self._carry = b""
                self._begin_anew(whole=False)

    def counts(self) -> Counts:
        """The counts, as of the last block."""
        with self.lock:
            if self._final is not None:
                return self._final
            heard = self._heard()
            self._settle()
            return self._ledger.counts(heard)

    def heard_of(self, begin: int, end: int, *, cut: bool = False) -> tuple[int, bool]:
        """Of the own frames from `begin` to `end`, counted as written, those heard by now.

        And whether that is final.  `cut`: what the device already has counts, too, since
        nothing can take it back.
        """
        with self.lock:
            if self._final is None:
                heard = self.read_index() if cut else self._heard()
                self._settle()
            else:
                heard = self._last_heard
            is_final = self._final is not None or self._ledger.is_past(end, heard)
            return self._ledger.heard_of(begin, end, heard), is_final

    def _count(self, field: str) -> int:
        with self.lock:
            if self._final is not None:
                return self._last_counts[field]
            return self._word(field)

    def level(self, seconds: float) -> Level:
        """How loud it was during the last `seconds` that were heard; see meter.py."""
        with self.lock:
            if self._final is not None or self.output.is_closed:
                return Level(0.0, 0.0)
            return self.output.level_of(self.slot, seconds)

    @property
    def starved(self) -> int:
        """Frames of silence (the device's) that stood in for frames not there in time."""
        return self._count("starved")

    @property
    def shortages(self) -> int:
        """How often it ran dry while it was heard, and not at an end."""
        return self._count("shortages")

    def notice_stop(self) -> None:
        """See whether a command has stopped it meanwhile, and drop what that leaves."""
        with self.lock:
            if self._final is None and self._load(self._stop_count) != self._stops_seen:
                self._settle()

    def ring_index(self, own: int) -> int:
        """The ring index behind the own frame number `own`, counted as written."""
        with self.lock:
            return self._ledger.ring_index(own)

    def index_of(self, position: int) -> int:
        """The ring index that is heard when `position` is so many frames."""
        with self.lock:
            return self._ledger.index_of(position)

    # --- marks -------------------------------------------------------------------

    def mark(self, name: Any) -> int:
        """Mark the point behind what is written; the own frames written before it.

        It is reached when all before it was heard; and where that is so already, or was
        cleared, as at the beginning of an utterance, when the frame behind it is.
        """
        with self.lock:
            self.check()
            self._settle()
            written = self._ledger.written
            index = self._ledger.ring_index(written)
            cleared = (self._word(name) for name in ("skip", "group_skip", "clean"))
            begins = index in cleared or self._heard() >= index
            reached = index + 1 if begins else index
            self._marks.append(_Mark(name, written, index, reached))
        self.news()
        return written

    def heard_mark(self) -> Mark | None:
        """Return the next mark that was heard by now; each is returned once."""
        with self.lock:
            if self._final is None:
                heard = self._heard()
                self._settle()
                if self._marks and self._marks[0].reached <= heard:
                    mark = self._marks.popleft()
                    position = self._ledger.heard_of(0, mark.written, heard)
                    return Mark(mark.name, position, self._time_of(mark))
        return None

    def arm_mark(self) -> bool:
        """Have the bell rung when the next mark was heard; True if it is."""
        with self.lock:
            if self._final is not None or not self._marks:
                return False
            return self.arm_heard(self._marks[0].reached)

    def _pull_marks(self, end: int) -> None:
        """All that is marked by now lies before the ring index `end`.

        Of what a resampler has held back, it was only known where it was to lie.
        """
        for number, mark in enumerate(self._marks):
            if mark.index > end:
                self._marks[number] = replace(mark, index=end, reached=end)

    def _time_of(self, mark: _Mark) -> float:
        """When a mark was reached; now, if that is too long ago to be known."""
        # The end of the frame before it, or the beginning of the one behind it.
        frame = self.output.frame_of(self.slot, mark.reached - 1)
        if frame is None:
            return self.output.now()
        return self.output.time_of(frame + (mark.reached == mark.index))

    # --- writing -----------------------------------------------------------------

    def room(self) -> int:
        """Frames (the device's) that the ring takes now."""
        return self._limit - (self._word("write") - self.read_index())

    def _takes(self) -> int:
        """Own frames that can be written now."""
        return self._conversion.takes(self.room(), self.holds - self._limit)

    def write_nowait(self, data: Any) -> int:
        """Take as much as there is room for.

        Parameters
        ----------
        data : bytes-like, or ndarray (frames,) or (frames, channels)
            As :func:`~audiostream.engine.intake.of_array` takes it.

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
        with self.lock:
            self.check()
            if self._straight and not self._carry:
                taken = self._put_straight(data)
                if taken is not None:
                    return taken
            self.notice_stop()
            most = None
            if isinstance(data, np.ndarray) and not data.flags.c_contiguous:
                most = max(self._takes(), 0)
            what = samples_of(data, self.format, most)
            if isinstance(what, memoryview):
                return self._take_bytes(what)
            if self._carry:
                raise FormatError(
                    f"{len(self._carry)} byte(s) of an unfinished frame are waiting; write the "
                    "frame's other bytes, or end(), before an array"
                )
            return self._take(what)

    def write_in(self, data: Any, epoch: int) -> int:
        """:meth:`write_nowait`, or nothing if a clear or a stop has come since `epoch`."""
        with self.lock:
            self.check()
            self.notice_stop()
            return self.write_nowait(data) if self.epoch == epoch else 0

    def write_whole(self, data: Any) -> bool:
        """:meth:`write_nowait`, all of it or nothing; True if it was written."""
        data = sliceable(data)
        with self.lock:
            self.check()
            frames = len(data)
            if not isinstance(data, np.ndarray):
                frames = -(-(frames + len(self._carry)) // self._width)
            if self._takes() < frames:
                return False
            return self.write_nowait(data) == len(data)

    def _put_straight(self, data: Any) -> int | None:
        """Put what most writes bring, as it is; None if it needs a closer look."""
        producer = None
        if type(data) is bytes:
            unit = self._width
            frames, part = divmod(len(data), unit)
            producer = None if part else self._straight.get(self._own)
        elif type(data) is np.ndarray and data.size <= COPIED:
            unit, channels = 1, self.format.channels
            if channels == 1 if data.ndim == 1 else data.shape[1:] == (channels,):
                producer = self._straight.get(data.dtype)
                frames, data = len(data), data.tobytes()
        if producer is None:
            return None
        count = self._put_more(producer, data, frames)
        self._ledger.written = written = self._ledger.written + count
        if written >= self._look_at:
            self._look_at_scale()
        if self._adapts:
            self._adapt()
        return count * unit

    def check(self, *, ending: bool = False) -> None:
        """Raise if the voice is removed, or its stream closed or dead.

        `ending`: what only ends something does not mind that the device is gone.
        """
        output = self.output
        if ending:
            output.check_not_closed()
        elif output.is_closed or output.failure is not None or output.is_instant:
            output.check()
        if self._final is not None:
            raise output.closed_error(
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

    def _take(self, samples: Samples | Encoded) -> int:
        """Convert as many frames as there is room for into the ring."""
        if self._conversion.is_plain and isinstance(samples, Samples):
            count = self._put(samples, self._limit)
        else:
            count = min(samples.frames, self._takes())
            if count > 0:
                self._flow(self._conversion.convert(samples, count))
        self._ledger.written += count
        if self._ledger.written >= self._look_at:
            self._look_at_scale()
        if self._adapts:
            self._adapt()
        return count

    def _look_at_scale(self) -> None:
        """Warn once if the scale of what was written is wrong; once a second of it."""
        before, write = self._looked_at, self._word("write")
        self._looked_at = write
        self._look_at = self._ledger.written + self.format.rate
        peak = self.output.peak_written(self.slot, before, write)
        if warn_if_too_loud(peak, self._conversion.full_scale):
            self._look_at = math.inf

    def _adapt(self) -> None:
        """Fit the prebuffer to the shortages there were."""
        if self._prebuffer.note(self._word("shortages"), self.read_index()):
            self._store(self._at("prebuffer"), self._prebuffer.frames)

    @property
    def prebuffer(self) -> float:
        """Seconds that are there before it starts."""
        return self._prebuffer.frames / self.output.parameters.rate

    def _put(self, samples: Samples, limit: int) -> int:
        """Frames that were put into the ring, of which there may then be `limit`."""
        return self.output.kernels.write_frames(
            self.output.address,
            self.address,
            limit,
            samples.address,
            samples.encoding,
            samples.channels,
            samples.frames,
        )

    def _flow(self, samples: Samples) -> None:
        if samples.frames:
            put = self._put(samples, self.holds)
            assert put == samples.frames, "the ring has room for what is held back"

    # --- utterances --------------------------------------------------------------

    def _begin_anew(self, *, whole: bool) -> None:
        """What is written next has nothing to do with what came before."""
        self._ledger.forget(self._heard())
        self._ledger.close_segment(self._word("write"), whole=whole)
        self._conversion.clear()

    def end(self) -> None:
        """Complete the frame, flush the resampler; running dry after it is no shortage."""
        with self.lock:
            self.check()
            self.notice_stop()
            if self._carry:
                frame = self._carry + self.format.silence[len(self._carry) :]
                self._take(of_bytes(frame, self.format))
                self._carry = b""
            if self._conversion.is_under_way:
                self._settle()
                self._flow(self._conversion.flush())
                self._pull_marks(self._word("write"))
                self._begin_anew(whole=True)
            self._store(self._at("ended"), self._word("write"))
        self.news()

    # --- joints ------------------------------------------------------------------

    def joint(self) -> Joint:
        """The place up to which it is written, to be gone on from; see :meth:`join`."""
        with self.lock:
            self.check()
            self.notice_stop()
            return Joint(
                self._conversion,
                None if self._carry else self._conversion.save(),
                self.epoch,
                self._word("write"),
                self._ledger.written,
            )

    def close_joint(self, joint: Joint) -> None:
        """What lies between a joint and here is what :meth:`join` replaces."""
        with self.lock:
            joint.end, joint.written_end = self._word("write"), self._ledger.written

    def is_joined(self, joint: Joint) -> bool:
        """True if nothing was written or cleared since the joint, and it is not heard yet."""
        with self.lock:
            self.notice_stop()
            return (
                self._final is None
                and joint.epoch == self.epoch
                and joint.conversion is self._conversion
                and joint.end == self._word("write")
                and joint.written_end == self._ledger.written
                and not self._carry
                and self.read_index() < joint.end
            )

    def needed(self, joint: Joint) -> int:
        """Own frames that :meth:`join` wants; 0 if it cannot."""
        with self.lock:
            over = joint.end - joint.index  # the device's frames
            unread = joint.index - self.read_index()
            if not over or joint.state is None or unread < 2 * self.output.period:
                return 0  # the audio thread may be about to play them
            if not self.is_joined(joint):
                return 0
            conversion = self._conversion
            if not conversion.resamples:
                return over
            held = conversion.held_back()
            if self.holds - (joint.end - self.read_index()) < 2 * held + 2:
                return 0
            return math.ceil((over + held) * self._ratio) + 2

    def join(self, joint: Joint, data: Any) -> int:
        """Go on from a joint as if there had been no end.

        What was written after the joint is replaced in the ring, where it waits to be
        played, and so many frames more are taken as the resampler needs for that.

        Parameters
        ----------
        data
            As for :meth:`write_nowait`: first what takes the place of the frames that were
            written from the joint on, then what follows them.

        Returns
        -------
        int
            What was taken, in the units of :meth:`write_nowait`; 0 if it is too late, if
            there is too little of it, or if soxr converts the rate.
        """
        with self.lock:
            self.check()
            count = self.needed(joint)
            what = samples_of(data, self.format)
            unit = 1
            if isinstance(what, memoryview):
                unit = self._width
                what = of_bytes(what[: len(what) // unit * unit], self.format)
            if not count or what.frames < count:
                return 0
            conversion = self._conversion
            over = joint.end - joint.index
            conversion.restore(joint.state)
            made = conversion.convert(what, count)
            self._replace(joint.index, made.first(over))
            rest = made.data.reshape(-1)[over * made.channels :]
            self._flow(Samples(rest, made.channels, made.encoding))
            self._ledger.written = joint.written + count
        return count * unit

    def fade_joint(self, joint: Joint, seconds: float) -> bool:
        """Fade out what was written last; False if nothing of it waits to be played."""
        with self.lock:
            unread = joint.end - self.read_index() - 2 * self.output.period
            frames = min(round(seconds * self.output.parameters.rate), unread)
            if frames < 1 or not self.is_joined(joint):
                return False
            memory, capacity = self._ring()
            places = np.arange(joint.end - frames, joint.end) % capacity
            fade = 1 - np.arange(1, frames + 1, dtype=np.float32) / frames
            faded = memory[places] * fade[:, np.newaxis]
            self._replace(joint.end - frames, Samples(faded, self._channels, 32))
            return True

    def _ring(self) -> tuple[np.ndarray, int]:
        """The ring with its guard, float32 (frames, channels); and its frames without it."""
        memory = self.output.ring_of(self.slot).reshape(-1, self._channels)
        return memory, len(memory) - self.output.slice

    def _replace(self, index: int, samples: Samples) -> None:
        """Put other frames in the ring where some are that wait to be played.

        If the audio thread came upon them nevertheless, it would play some of each.
        """
        memory, capacity = self._ring()
        block = spread(self.output.kernels, samples, self._channels).data
        block = np.nan_to_num(block.reshape(-1, self._channels), posinf=1.0, neginf=-1.0)
        places = np.arange(index, index + len(block)) % capacity
        memory[places] = block
        twice = places < self.output.slice  # stored again after the ring's end
        memory[capacity + places[twice]] = block[twice]

    def set_format(self, format: Format, quality: str = "high", matrix: Any = None) -> None:
        """End the utterance; what is written next is in another format, without a gap.

        Counts go on: each frame is counted at the rate that it was written at.

        Raises
        ------
        FormatError
            If the format cannot be converted so, or the ring is too short for it.
        """
        with self.lock:
            self.check()
            conversion = self._conversion_of(format, quality, matrix)
            room = self.holds - conversion.held_back()
            least = max(2 * self.output.period, self._prebuffer.most)
            if room < min(self._longest, least):
                raise FormatError(
                    f"the sample's ring is too short for {format} with quality={quality!r}; "
                    "make the sample with a longer buffer="
                )
            self.end()
            self._conversion.close()
            self._ledger.change_ratio(self._word("write"), conversion.ratio)
            self._use(conversion)
            self._room = min(self._longest, room)
            self.set_limit(None)
        self.news()

    def clear(self, fade: float = FADE) -> int:
        """Ask for all that is not heard yet to be dropped.

        Returns
        -------
        int
            The ring index that the audio thread will have read up to when it is done.
        """
        frames = self._frames(fade, "fade", 10)
        with self.lock:
            self.check(ending=True)
            self._store(self._at("fade"), frames)
            write = self._drop("skip")
        self.news()
        return write

    def clear_with_group(self, number: int) -> None:
        """Take part in its group's clear of that number."""
        with self.lock:
            if self._final is None:
                self._store(self._at("group_clear"), number)
                self._drop("group_skip")
        self.news()

    def _drop(self, field: str) -> int:
        """Have what is queued skipped, up to the index that `field` then tells."""
        self._settle()
        self._carry = b""
        write = self._word("write")
        self._begin_anew(whole=False)
        self._pull_marks(write)
        self._store(self._at(field), write)
        self.epoch += 1
        return write

    def cleared_to(self, index: int) -> int:
        """Own frames heard up to a clear's ring index, once it is done."""
        with self.lock:
            if self._final is not None:
                return self._final.position
            self._settle()
            return self._ledger.heard_before(index)

    # --- control -----------------------------------------------------------------

    def _may_tell(self, *, ending: bool = False) -> bool:
        self.check(ending=ending)
        return True

    def play(self, at: float | None = None) -> float:
        """Play what is queued, from the next block on or from a time on.

        Until that time it starts nothing; what sounds already goes on.  The times of this and
        the following methods are seconds on the stream's clock.

        Returns
        -------
        float
            Seconds by which `at` is past already; it then happens at once.

        Raises
        ------
        FormatError
            If `at` is no finite number, or more than a day ahead.
        AudioException
            If too many commands wait for their time.
        """
        with self.lock:
            if not self.is_gone and not self.output.is_closed:
                self._settle()
            return self.tell(PLAY, at, frames=self._ramp, hold=True)

    def stop(self, fade: float = FADE, at: float | None = None) -> float:
        """Fade out, drop what is queued, play no more.  Idempotent.

        At once, it takes back a play, pause, resume or stop whose time is still to come.
        """
        with self.lock:
            self.check(ending=True)
            if at is not None:
                return self.tell(END, at, ending=True, frames=self._frames(fade, "fade", 10))
            return self._stop(fade, MOVES)

    def _stop(self, fade: float, kinds: Collection[int]) -> float:
        """Stop at once; commands of these kinds whose time is still to come are taken back."""
        self.commands.take_back(kinds)
        self.clear(fade)
        return self.tell(STOP, ending=True)

    def pause(self, at: float | None = None) -> float:
        """Fade out, and stand still; what is queued stays."""
        return self.tell(PAUSE, at, frames=self._ramp)

    def resume(self, at: float | None = None) -> float:
        """Fade in where a pause has faded out; does nothing unless paused."""
        return self.tell(RESUME, at, frames=self._ramp)

    def _set_ramp(self, frames: int) -> None:
        self._ramp = frames
        self._store(self._at("ramp"), frames if self._tail else 0)

    def warn_unless_playing(self) -> None:
        """Say once that a write waits for a voice that does not play."""
        with self.lock:
            if (
                self._has_warned
                or self._final is not None
                or self._word("transport") == PLAYING
            ):
                return
            self._has_warned = True
        logging.getLogger("audiostream").warning(
            "a write waits for room on the ring of a sample that does not play; call its play()"
        )

    # --- waiting, for those above ------------------------------------------------

    def set_limit(self, frames: int | None) -> None:
        """Hold at most `frames` own frames from now on, or as many as the ring does.

        That are two of the device's blocks at least.
        """
        with self.lock:
            limit = self._room
            if frames is not None:
                wanted = max(
                    math.ceil(frames / self._ratio),
                    2 * self.output.period,
                    self._prebuffer.most,
                )
                limit = min(limit, wanted)
            self._limit = limit
            self._producers["limit"] = limit

    def wants_room(self, frames: int) -> int:
        """The read index at which `frames` own frames, or half a ring, can be taken."""
        wanted = min(math.ceil(frames / self._ratio), max(self._limit // 2, 1))
        write = self._word("write")
        # Never beyond what there is to read: the ring may have run dry meanwhile.
        return min(write - self._limit + wanted, write)

    def arm_room(self) -> bool:
        """Have the bell rung when half the ring is free; True if it is.

        To wait for no more than its next chunk wakes a task that writes 20 ms at a time
        six times as often, which of 200 such tasks is most of what they cost.
        """
        return bool(self._arm_room(self._producer))

    def arm_read(self, index: int) -> bool:
        """Have the bell rung when the ring was read up to `index`; True if it is."""
        return self._arm("wake_read", "read", index) or self.has_read(index)

    def arm_heard(self, index: int) -> bool:
        """Have the bell rung when `index` was heard; True if it is."""
        return self._arm("wake_heard", "heard", index) or self.has_heard(index)

    def _arm(self, wake: str, field: str, index: int) -> bool:
        # The record's word is as old as the last break or the last waiter.
        kernels = self.output.kernels
        return bool(kernels.request_wakeup(self._at(wake), self._at(field), index, self._armed))

    def write_index(self) -> int:
        """The ring index behind what was written."""
        return self._word("write")

    def has_read(self, index: int) -> bool:
        """True if the audio thread has read up to `index`."""
        return self.read_index() >= index

    def has_heard(self, index: int) -> bool:
        """True if `index` was heard."""
        return self._heard() >= index

    def use_bell(self, bell: Bell) -> None:
        """The bell that the audio thread rings for this voice from now on."""
        self._bell = bell
        if not self.is_gone and not self.output.is_closed:
            self._store(self._at("wakeup"), bell.index)

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

    def is_over(self) -> bool:
        """A voice keeps its slot until it is removed."""
        return False

    def _to_be_heard(self) -> int:
        """Own frames that are not heard yet; none if all that the device lacks is silence.

        Or is to be dropped by a clear.
        """
        read = max(self.read_index(), self._word("skip"), self._word("group_skip"))
        write = self._word("write")
        is_silent = read >= write or not self.output.peak_written(self.slot, read, write)
        return 0 if is_silent else self.counts().buffered

    def unheard(self) -> tuple[int, int]:
        """Frames that the end has cut though they were to be heard, at their rate."""
        return 0 if self.may_be_cut else self._unheard, self.format.rate

    def give_back(self) -> None:
        """Never called, since it is never over by itself."""

    def remove(self) -> None:
        """Fade out, and give the slot back.  Idempotent."""
        with self.lock:
            if self._final is not None or self.output.is_closed:
                return
            self._unheard = self._to_be_heard()
            with contextlib.suppress(AudioException):  # closed by another thread just now
                self._stop(self.ramp, ALIKE)
            self._finish()
            self.output.retire(self.slot)  # under the lock: who finds it gone may have its slot
        self.news()

    def is_unfinished(self) -> bool:
        """True if something was written, and neither ended nor cleared.  Takes no lock."""
        if self._final is not None or self.output.is_closed:
            return False
        write = self.write_index()
        is_read = self.read_index() >= write
        if is_read and self._load(self._stop_count) != self._stops_seen:
            return False  # it was stopped, and what was held back went with that
        held_back = bool(self._carry) or self._conversion.is_under_way
        is_over = write in (self._word(name) for name in ("ended", "skip", "group_skip"))
        return held_back or not (is_over or (is_read and self._rests()))

    def let_go(self) -> None:
        """Be removed, as soon as what was written was heard, or cannot be any more."""
        with self.lock:
            if self._final is not None or self.output.is_closed:
                return
            if not self._is_left:
                with contextlib.suppress(AudioException):  # of a device that may come back
                    self.end()
                    self._is_left = True
            write = self.write_index()
            is_cleared = write in (self._word("skip"), self._word("group_skip"))
            if not (is_cleared or self.has_heard(write) or self._stands_still()):
                return
        self.remove()

    def leave(self) -> None:
        """Fade out and be gone, with the group that it is in."""
        self.remove()

    def stream_closed(self) -> None:
        """The stream has closed: what was not heard counts as cleared."""
        with self.lock:
            if self._final is None:
                self._unheard = self._to_be_heard()
                self._finish()
            self.epoch += 1
        self.news()

    def _finish(self) -> None:
        self._conversion.close()
        self._last_counts = {field: self._count(field) for field in ("starved", "shortages")}
        self._last_heard = self._heard()
        counts = self.counts()
        left = counts.buffered
        self._final = Counts(counts.written, counts.position, counts.cleared + left)


def _prebuffer(prebuffer: float | str, buffer: float, rate: int) -> Prebuffer:
    """What `prebuffer` says, within a ring of `buffer` seconds."""
    if isinstance(prebuffer, str) and prebuffer == "adaptive":
        least, most = (min(seconds, buffer) for seconds in ADAPTIVE)
    else:
        hint = f"try 'adaptive', or seconds within the ring of buffer={buffer:g}"
        least = most = check_number(prebuffer, "prebuffer", 0, buffer, hint)
    return Prebuffer(round(least * rate), round(most * rate), rate)
