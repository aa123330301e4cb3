"""A Pure Data patch, computed when asked; any thread, no event loop, no thread of its own."""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from audiostream.checks import check_flag, check_integer, check_number, shown
from audiostream.errors import FormatError, PatchError, PatchWarning
from audiostream.forks import LOCKS
from audiostream.libpd.arrays import Arrays
from audiostream.libpd.backends import BACKENDS
from audiostream.libpd.midi import MidiIn
from audiostream.libpd.patchfile import Seen, check, look_into, missing_objects
from audiostream.libpd.protocol import (
    BLOCK,
    Atom,
    Engine,
    Floats,
    Message,
    Midi,
)
from audiostream.libpd.queues import Queue
from audiostream.libpd.session import Notify, Session
from audiostream.pcm import MAX_CHANNELS, check_channels, check_rate

__all__ = ("Patch",)


CHUNK = 256
"""Ticks that are computed while the engine is locked; other threads may send in between."""

MAX_FRAMES = 1 << 28
"""Frames that are computed in one call, and returned in one array."""

QUEUE = 1024
"""Items that a subscription keeps by default."""


class Patch(MidiIn):
    """A Pure Data patch in a libpd of its own.

    Time in the patch passes in :meth:`process` and :meth:`render`, in blocks of 64 frames,
    and nowhere else.  Methods may be called from any thread; one that finds the patch
    computing waits until that has got through at most 16,384 frames.

    The library is looked for in this order: the ``pylibpd`` module, the system's libpd, the
    ``cypd`` wheel; `carrier` and ``AUDIOSTREAM_LIBPD`` choose by hand.  pylibpd plays one
    patch at a time, in the instance that ``pylibpd.libpd_float(...)`` and its other
    functions reach; the others play any number.  A patch that is dropped without
    :meth:`close` is closed before the next one is opened.

    Abstractions beside the patch are found.  Externals that are binaries are not loaded:
    they need symbols that a private copy of libpd cannot give them.  And a patch is a
    program: it can use all memory, compute for ever or end the process; open none that you
    would not run.

    Parameters
    ----------
    patchfile : str or os.PathLike
        The ``.pd`` file.
    rate : int
        Frames per second (Hz).
    channels : int
        Channels that [dac~] has.  Pd drops what a patch sends to further ones: a stereo
        patch in one channel is its left side.
    inputs : int
        Channels that [adc~] has; 0 for none.
    strict : bool
        Refuse a patch with objects that libpd does not know, instead of warning.
    carrier : str, optional
        ``"pylibpd"``, ``"system"``, ``"cypd"``, or the path of a shared library that is
        libpd.

    Attributes
    ----------
    path : Path
        The file, absolute.
    rate, channels, inputs : int
        As given.
    arrays : Arrays
        The patch's arrays by name, to copy to and from numpy.
    dollar_zero : int
        What ``$0`` is in the patch, for names that begin with it.
    carrier : str
        The name of the backend that plays it.
    input_latency : int
        Frames from `adc` in :meth:`process` to what [adc~] hears at the same place of the
        output: 63 with inputs, for every size of the blocks.

    Raises
    ------
    PatchError
        If the file is missing, not readable or not a patch, if it or an abstraction beside
        it is damaged, if `strict` and an object is missing, or if pylibpd is playing
        another patch.
    NoLibpdError
        If there is no libpd, or not the one chosen.
    FormatError
        For a rate or channel count that cannot be used.

    Warns
    -----
    PatchWarning
        If objects are missing, whose names it says, or if there is no [dac~].
    """

    def __init__(
        self,
        patchfile: str | os.PathLike[str],
        rate: int = 44100,
        channels: int = 2,
        inputs: int = 0,
        strict: bool = False,
        carrier: str | None = None,
    ) -> None:
        self.rate = check_rate(rate)
        self.channels = check_channels(channels)
        self.inputs = check_integer(inputs, "inputs", "channels", least=0, most=MAX_CHANNELS)
        strict = check_flag(strict, "strict")
        self.path: Path = check(patchfile)
        seen = look_into(self.path)
        lender = BACKENDS.choose(carrier)
        if lender.utf8_only and not seen.utf8:
            raise PatchError(
                f"{self.path}, or an abstraction that it names, is not UTF-8, which crashes "
                f"{lender.name} when it is printed; save it again with Pd, or set "
                "AUDIOSTREAM_LIBPD=system or cypd"
            )
        self.carrier = lender.name
        self.input_latency = BLOCK - 1 if self.inputs else 0
        # Output that was computed and not handed out yet, and input that waits to be heard.
        self._ahead = np.zeros((0, self.channels), np.float32)
        self._behind = np.zeros((self.input_latency, self.inputs), np.float32)
        self._process_lock = (
            threading.Lock()
        )  # one process() at a time; taken before the engine's
        LOCKS.add(self, _process_lock=threading.Lock)
        self._session = session = Session(lender)
        self._finalizer = weakref.finalize(self, lender.abandon, session.hold.end)
        self._finalizer.atexit = False
        self.arrays = Arrays(session.run)
        try:
            self._open(strict, seen)
        except BaseException:
            self.close()
            raise

    def _open(self, strict: bool, seen: Seen) -> None:
        session = self._session

        def open_patch(engine: Engine) -> int:
            engine.listen(session.router)
            engine.start(self.inputs, self.channels, self.rate)
            session.hold.patch = patch = engine.open(self.path)
            return 0 if patch is None else engine.dollar_zero(patch)

        self.dollar_zero = session.run(open_patch)
        if session.hold.patch is None:
            said = "; ".join(session.router.prints) or "it does not say why"
            raise PatchError(f"libpd cannot open {self.path} ({said}); save it again with Pd")
        missing = missing_objects(session.router.prints)
        if missing:
            message = (
                f"{self.path} needs what libpd does not have: {', '.join(missing)}. Put "
                "abstractions (.pd files) into the patch's folder; binary externals are not "
                "supported"
            )
            if strict:
                raise PatchError(message)
            warnings.warn(message, PatchWarning, stacklevel=3)
        if not seen.dac:
            warnings.warn(
                f"{self.path} has no [dac~], so nothing of it will be heard",
                PatchWarning,
                stacklevel=3,
            )

    # -------------------------------------------------------------------------- sound

    def process(self, frames: int, adc: npt.ArrayLike | None = None) -> Floats:
        """Compute the next frames.

        libpd computes 64 frames at a time; what is left of them is handed out by the next
        call.  So the output does not depend on how many frames are asked for, and a message
        is heard at most 63 frames later than the next frame.  [adc~] hears the input 63
        frames late, always, so that it does not depend on that either.

        The interpreter lock is kept if the time that computing took so far says that this
        will take less than half a millisecond, and released otherwise (not with pylibpd,
        which always keeps it).

        Parameters
        ----------
        frames : int
            How many; 0 or more.
        adc : array_like, optional
            float ``(frames, inputs)`` at full scale 1.0, or ``(frames,)`` for one input.
            Silence without it.

        Returns
        -------
        numpy.ndarray
            A new array, float32, C-contiguous, ``(frames, channels)``; full scale is 1.0,
            and what is louder is not clipped.

        Raises
        ------
        FormatError
            For a number of frames that is negative or more than 2**28, or an `adc` of another
            shape or of integers.
        PatchClosedError
            If the patch is closed.
        """
        frames = check_integer(frames, "frames", "frames", least=0, most=MAX_FRAMES)
        heard = self._input(frames, adc)
        with self._process_lock:
            ready = len(self._ahead)
            ticks = max(0, -(-(frames - ready) // BLOCK))
            out = np.empty((ready + ticks * BLOCK, self.channels), np.float32)
            out[:ready] = self._ahead
            if self.inputs:
                heard = np.concatenate((self._behind, heard))
            self._compute(ticks, heard, out[ready:])
            # Copied, so that the array that is handed out is the caller's alone.
            self._ahead = out[frames:].copy()
            self._behind = heard[ticks * BLOCK :] if self.inputs else heard
            return out[:frames]

    def render(self, seconds: float) -> Floats:
        """Compute that many seconds, without input; see :meth:`process`."""
        most = MAX_FRAMES / self.rate
        seconds = check_number(seconds, "seconds", 0, most, "no length of time; try 1.0")
        return self.process(round(seconds * self.rate))

    def _input(self, frames: int, adc: npt.ArrayLike | None) -> Floats:
        if adc is None:
            return np.zeros((frames, self.inputs), np.float32)
        try:
            given = np.asarray(adc)
        except (TypeError, ValueError) as error:
            raise FormatError(f"adc={shown(adc)} is no array: {error}") from error
        if given.dtype.kind != "f":
            raise FormatError(
                f"adc holds {given.dtype}, not floats; divide int16 by 32768 before"
            )
        if given.ndim == 1:
            given = given[:, np.newaxis]
        if given.shape != (frames, self.inputs):
            raise FormatError(
                f"adc has the shape {given.shape}, not {(frames, self.inputs)}; Patch's "
                "inputs= sets the number of channels"
            )
        # A filter of the patch would never get rid of a NaN.
        heard = given.astype(np.float32)
        np.nan_to_num(heard, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
        return heard

    def _compute(self, ticks: int, adc: Floats, dac: Floats) -> None:
        # Also for no ticks, so that a closed patch says so.
        for first in range(0, max(ticks, 1), CHUNK):
            count = min(CHUNK, ticks - first)
            span = slice(first * BLOCK, (first + count) * BLOCK)
            self._session.run(
                lambda engine, count=count, span=span: (  # type: ignore[misc]
                    engine.process(count, adc[span], dac[span]) if count else None
                )
            )

    # ----------------------------------------------------------------------- messages

    def send(self, receiver: str, *atoms: object) -> bool:
        """Send a message to a [receive], as Pd's message boxes would.

        ================================ ==========================================
        ``send("r")``                    a bang
        ``send("r", 440)``               a float; numpy's scalars and bool, too
        ``send("r", "word")``            the symbol ``word``
        ``send("r", 1, "a", 2)``         a list, since it begins with a number
        ``send("r", ["a", 1])``          a list, with any first item; of a list,
                                         a tuple or a numpy array of one dimension
        ``send("r", "set", 1, 2)``       the message ``set 1 2``, as in
                                         ``pylibpd.libpd_message("r", "set", 1, 2)``
        ================================ ==========================================

        See :meth:`message` for one that is a single word.

        Returns
        -------
        bool
            False if nothing in the patch receives that name.

        Raises
        ------
        TypeError
            For an atom that is neither a number nor a str.
        PatchError
            For a name or symbol that Pd cannot hold.
        PatchClosedError
            If the patch is closed.
        """
        if len(atoms) == 1 and isinstance(atoms[0], list | tuple | np.ndarray):
            return self.message(receiver, "list", *atoms[0])
        if not atoms:
            return self.message(receiver, "bang")
        if len(atoms) == 1:
            selector = "symbol" if isinstance(atoms[0], str) else "float"
            return self.message(receiver, selector, *atoms)
        if isinstance(atoms[0], str):
            return self.message(receiver, *atoms)  # type: ignore[arg-type]
        return self.message(receiver, "list", *atoms)

    def message(self, receiver: str, selector: str, *atoms: object) -> bool:
        """Send a message that begins with `selector`; as :meth:`send` otherwise."""
        receiver, selector = _symbol(receiver), _symbol(selector)
        checked = tuple(_atom(atom) for atom in atoms)
        return self._session.run(lambda engine: engine.send(receiver, selector, checked))

    def messages(
        self, name: str, size: int = QUEUE, notify: Notify | None = None
    ) -> Queue[Message]:
        """Subscribe to what the patch sends to `name`, until the queue is closed.

        Parameters
        ----------
        name : str
            What [send] in the patch has.
        size : int
            Messages kept at most; the newest replace the oldest.
        notify : callable, optional
            See :class:`~audiostream.libpd.Queue`.
        """
        return self._session.subscribe(_symbol(name), size, notify)

    def midi(self, size: int = QUEUE, notify: Notify | None = None) -> Queue[Midi]:
        """Subscribe to the MIDI that the patch sends; parameters as of :meth:`messages`."""
        return self._session.subscribe_midi(size, notify)

    @property
    def prints(self) -> Queue[str]:
        """The last 1,000 lines that the patch and libpd printed.

        They also go to the logger ``audiostream.puredata``: errors as warnings, the rest as
        information.
        """
        return self._session.router.prints

    def _midi(self, kind: str, *values: int) -> None:
        if not self._session.run(lambda engine: engine.midi(kind, values)):
            raise FormatError(f"libpd refuses the {kind} of {values}")

    # ----------------------------------------------------------------------- lifetime

    @property
    def closed(self) -> bool:
        """The patch is closed."""
        return self._session.hold.closed

    def close(self) -> None:
        """Close the patch; its subscriptions end.  Idempotent.

        Waits for what another thread is computing, at most 16,384 frames.
        """
        self._finalizer.detach()
        self._session.hold.end()

    def __enter__(self) -> Patch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed " if self.closed else ""
        return f"<{state}Patch {str(self.path)!r} on {self.carrier}>"


def _symbol(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a name or a message's first word is a str, not {shown(text)}")
    if "\0" in text:
        raise PatchError(f"{shown(text)} holds a null character, which Pd's symbols cannot")
    try:
        text.encode()
    except UnicodeError:
        raise PatchError(
            f"{shown(text)} holds half a character, which Pd's symbols cannot"
        ) from None
    return text


def _atom(value: object) -> Atom:
    if isinstance(value, str):
        return _symbol(value)
    if isinstance(value, bytes | bytearray) or not (
        hasattr(value, "__float__") or hasattr(value, "__index__")
    ):
        raise TypeError(
            f"Pd takes numbers and str, not {shown(value)}; send the parts of it one by one"
        )
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        raise FormatError(f"{shown(value)} is more than a float of Pd holds") from None
