"""A voice: one ring into the mixer, how it is controlled, and how it ends; any thread.

Every operation here is the half that does not wait.  A voice's lock makes its callers
the one producer that the ring wants.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostream.checks import check_choice, check_number
from audiostream.engine.commands import ALIKE
from audiostream.engine.conversion import Conversion
from audiostream.engine.meter import Level
from audiostream.engine.output import Output
from audiostream.engine.prebuffer import Prebuffer
from audiostream.engine.ring_writer import RingWriter
from audiostream.engine.sample_input import sliceable
from audiostream.engine.strip import FADE
from audiostream.engine.voice_frames import VoiceFrames
from audiostream.engine.wakeup import Wakeup
from audiostream.errors import AudioException, FormatError
from audiostream.pcm import Format
from audiostream.realtime.opcodes import END, PAUSE, PLAY, PLAYING, RESUME, STOP

if TYPE_CHECKING:
    from audiostream.engine.effects import Effects
    from audiostream.engine.group import Group

__all__ = ("MAX_BUFFER", "Voice")

MAX_BUFFER = 120.0
"""Seconds of audio that a voice's ring may hold."""

MOVES = (PLAY, END, PAUSE, RESUME)
"""Commands that a stop takes back if their time is still to come."""

STARVE = ("silence", "rebuffer")
"""What a voice may do where it has starved: play on as soon as there is anything, or wait for
its prebuffer again."""


class Voice(VoiceFrames):
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
        "silence", or "rebuffer" to wait for the prebuffer again where it has starved.
    group : Group, optional
        What it plays into.
    effects : Effects, optional
        The list of its effects.
    declick : bool
        False: where it starves there is silence at once, as the blocking API is documented.

    Raises
    ------
    FormatError
        If `buffer` is outside 0 to 120 seconds, `prebuffer` is not within the buffer, or
        `on_starve` is another word.
    AudioException
        If all voices are in use.

    Attributes
    ----------
    may_be_cut : bool
        Its generator still runs, or a wait for it was cancelled: what is queued may be cut.
    """

    def __init__(
        self,
        output: Output,
        format: Format,
        buffer: float,
        least: int = 1,
        prebuffer: float | str = 0.0,
        on_starve: str = "silence",
        declick: bool = True,
        quality: str = "high",
        matrix: Any = None,
        group: Group | None = None,
        effects: Effects | None = None,
    ) -> None:
        rate = output.parameters.rate
        buffer = check_number(buffer, "buffer", 1e-6, MAX_BUFFER, "seconds, try 0.25")
        check_choice(on_starve, "on_starve", STARVE)
        self._prebuffer = Prebuffer(prebuffer, buffer, rate)
        conversion = self._conversion_of(output, format, quality, matrix)
        super().__init__(output, conversion.ratio, effects)
        limit = max(math.ceil(buffer * rate), least, 1)
        self.may_be_cut = False
        self._declick = declick
        self._has_warned = False
        self._is_left = False  # it was dropped, and ended
        # What a resampler holds back and then gives at once goes beyond the limit.
        with self.lock:  # from attach on, the output may close and a group be cleared
            output.attach(self, limit + conversion.held_back(), group=group)
            self.writer = RingWriter(
                output, self.strip, limit, conversion, self.accounting, self._prebuffer
            )
            self._set_ramp(self._ramp)
            self.strip.set_word("prebuffer", self._prebuffer.frames)
            self.strip.set_word("rebuffer", int(on_starve == "rebuffer"))

    @staticmethod
    def _conversion_of(output: Output, format: Format, quality: str, matrix: Any) -> Conversion:
        # A matrix makes the channels that were asked of the output, which the ring then spreads
        # over those of a device that has others.
        channels = output.parameters.channels if matrix is None else output.format.channels
        return Conversion(
            output.kernels, format, output.parameters.rate, channels, quality, matrix
        )

    @property
    def format(self) -> Format:
        """What is written."""
        return self.writer.format

    @property
    def prebuffer(self) -> float:
        """Seconds that are there before it starts."""
        return self._prebuffer.frames / self.output.parameters.rate

    def level(self, seconds: float) -> Level:
        """How loud it was during the last `seconds` that were heard; see meter.py."""
        with self.lock:
            if self.is_gone or self.output.is_closed:
                return Level(0.0, 0.0)
            return self.output.level_of(self.strip.meter, seconds)

    # --- writing -----------------------------------------------------------------

    def check(self, *, ending: bool = False) -> None:
        """Raise if the voice is removed, or its stream closed or dead.

        `ending`: what only ends something does not mind that the device is gone.
        """
        output = self.output
        if ending:
            output.check_not_closed()
        elif output.is_closed or output.failure is not None or output.is_instant:
            output.check()
        if self.is_gone:
            raise output.closed_error(
                "this sample was removed from its output; add it again, or make another one"
            )

    def write_nowait(self, data: Any) -> int:
        """Take as much as there is room for.

        Parameters
        ----------
        data : bytes-like, or ndarray (frames,) or (frames, channels)
            As :func:`~audiostream.engine.sample_input.of_array` takes it.

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
            taken = self.writer.write_plain(data)
            if taken is None:
                self.notice_stop()
                taken = self.writer.write(data)
            return taken

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
                frames = -(-(frames + len(self.writer.carry)) // self.format.frame_bytes)
            return self.writer.takes() >= frames and self.write_nowait(data) == len(data)

    def end(self) -> None:
        """Complete the frame, flush the resampler; running out after it is no starvation."""
        with self.lock:
            self.check()
            self.notice_stop()
            self.writer.complete_frame()
            if self.writer.holds_back:
                self._settle()
                self.writer.flush()
                self._begin_segment(whole=True)
            self.strip.set_word("ended", self.write_index())
        self.news()

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
            conversion = self._conversion_of(self.output, format, quality, matrix)
            if not self.writer.fits(conversion):
                raise FormatError(
                    f"the sample's ring is too short for {format} with quality={quality!r}; "
                    "make the sample with a longer buffer="
                )
            self.end()
            self.writer.conversion.close()
            self.accounting.change_ratio(self.write_index(), conversion.ratio)
            self.writer.use(conversion)
        self.news()

    def set_limit(self, frames: int | None) -> None:
        """See :meth:`RingWriter.set_limit`."""
        with self.lock:
            self.writer.set_limit(frames)

    # --- clears ------------------------------------------------------------------

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
            self.strip.set_word("fade", frames)
            write = self._skip_to_here("skip")
        self.news()
        return write

    def clear_with_group(self, number: int) -> None:
        """Take part in its group's clear of that number."""
        with self.lock:
            if not self.is_gone:
                self.strip.set_word("group_clear", number)
                self._skip_to_here("group_skip")
        self.news()

    def _skip_to_here(self, field: str) -> int:
        """Have what is queued skipped, up to the index that `field` then tells."""
        self._settle()
        write = self._drop()
        self.strip.set_word(field, write)
        self.epoch += 1
        return write

    # --- control -----------------------------------------------------------------

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
            if not self.output.is_closed:
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
        self.strip.set_word("ramp", frames if self._declick else 0)

    # --- waiting, for those above ------------------------------------------------

    def warn_unless_playing(self) -> None:
        """Say once that a write or drain waits for a voice that does not play."""
        with self.lock:
            plays = self.is_gone or self.strip.word("transport") == PLAYING
            if self._has_warned or plays:
                return
            self._has_warned = True
        logging.getLogger("audiostream").warning(
            "a write or drain waits for a sample that does not play; call its play()"
        )

    def own_wakeup(self) -> Wakeup | None:
        """A wake-up for the one thread that blocks on this voice; None once it is gone."""
        with self.lock:
            if self.is_gone:
                return None
            if self._wakeup is None:
                self.use_wakeup(self.output.wakeups.of_slot(self.slot))
            return self._wakeup

    # --- the end -----------------------------------------------------------------

    def unheard(self) -> tuple[int, int]:
        """Frames that the end has cut though they were to be heard, at their rate."""
        return 0 if self.may_be_cut else self._unheard, self.format.rate

    def remove(self) -> None:
        """Fade out, and give the slot back.  Idempotent."""
        with self.lock:
            if self.is_gone or self.output.is_closed:
                return
            self._note_unheard()
            with contextlib.suppress(AudioException):  # closed by another thread just now
                self.fade_for_good()
                self._stop(self.ramp, ALIKE)
            self._finish()
            self.output.retire(self.slot)  # under the lock: who finds it gone may have its slot
        self.news()

    def is_unfinished(self) -> bool:
        """True if something was written, and neither ended nor cleared.  Takes no lock."""
        if self.is_gone or self.output.is_closed:
            return False
        write = self.write_index()
        is_read = self.read_index() >= write
        if is_read and self.strip.word("stop_count") != self._stops:
            return False  # it was stopped, and what was held back went with that
        is_over = write in (self.strip.word(name) for name in ("ended", "skip", "group_skip"))
        return self.writer.holds_back or not (is_over or (is_read and self._rests()))

    def let_go(self) -> None:
        """Be removed, as soon as what was written was heard, or cannot be any more."""
        with self.lock:
            if self.is_gone or self.output.is_closed:
                return
            if not self._is_left:
                with contextlib.suppress(AudioException):  # of a device that may come back
                    self.end()
                    self._is_left = True
            write = self.write_index()
            is_cleared = write in (self.strip.word("skip"), self.strip.word("group_skip"))
            if not (is_cleared or self.strip.is_drained(write) or self._stands_still()):
                return
        self.remove()

    def leave(self) -> None:
        """Fade out and be gone, with the group that it is in."""
        self.remove()

    def stream_closed(self) -> None:
        """The stream has closed: what was not heard counts as cleared."""
        with self.lock:
            if not self.is_gone:
                self._note_unheard()
                self._finish()
            self.epoch += 1
        self.news()

    def _finish(self) -> None:
        super()._finish()
        self.writer.conversion.close()
