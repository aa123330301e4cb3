"""Sound files, opened and read in bounded pieces, for all who play them; any thread.

One thread at a time may use a file.  Blocks are C-contiguous (frames, channels), with channels
in the order of WAV and FLAC (left, right, centre, low frequencies, rear, sides), not the
file's own order.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from audiostream.checks import check_path, shown
from audiostream.errors import AudioException, FormatError
from audiostream.pcm import MAX_CHANNELS, MAX_RATE
from audiostream.soundheaders import VORBIS_ORDER, View, inspect

if TYPE_CHECKING:
    import numpy as np

__all__ = ("SoundFile", "downmix", "is_sound_file", "open_sound")

UNTOUCHED = {"float32": 0x7FC0A5C3, "int16": -0x5A3D}
"""What stands in a block before it is read: bits that sound hardly has, of float32 a NaN."""

PIECE = 1 << 16
"""Samples that are read at a time: no header says what is allocated."""

log = logging.getLogger("audiostream")


def is_sound_file(what: Any) -> bool:
    """True for what :func:`open_sound` takes: a path, bytes or a file object."""
    return isinstance(what, str | os.PathLike | bytes | bytearray | memoryview) or callable(
        getattr(what, "read", None)
    )


def open_sound(what: Any, name: str = "path") -> SoundFile:
    """Open a sound file.

    Parameters
    ----------
    what : str, PathLike, bytes-like or binary file object
        A path; or what such a file holds; or an open file, which is read from its beginning and
        left open.  One that cannot seek is read to its end at once.
    name : str
        The parameter's, for messages.

    Raises
    ------
    FormatError
        For anything else, numbers and bools above all; and for a file whose rate is outside
        1,000 to 768,000 Hz, or that has more than 64 channels.
    AudioException
        If soundfile is not installed, or the file cannot be read.
    """
    try:
        import soundfile
    except ImportError as error:
        raise AudioException(
            'sound files need soundfile; try pip install "audiostream[files]"'
        ) from error
    if not is_sound_file(what):
        raise FormatError(
            f"{name}={shown(what)} is no sound file; try a path, what a file holds, as bytes, "
            'or a file that is opened with "rb"'
        )
    if isinstance(what, str | os.PathLike):
        what = check_path(what, name, '"name.wav"')
    return SoundFile(what, soundfile.SoundFile)


@functools.lru_cache(maxsize=1)
def _sequential(base: type) -> Any:
    """soundfile's class, which seeks only where that is asked for.

    It seeks after each read otherwise, which resets the decoder of MP3, and fails at the end of
    a file whose length is not known.
    """
    return type("Sequential", (base,), {"seekable": lambda self: False})


class SoundFile:
    """A sound file that is read from its beginning; see :func:`open_sound`.

    Attributes
    ----------
    name : str
        For messages.
    rate : int
        Frames per second (Hz).
    frames : int or None
        What was there, once the end was read; before, what its header says, or an estimate.
        None: there is none yet.
    is_estimate : bool
        Its header does not say how many frames there are, and the end was not read yet.
    subtype : str
        soundfile's name of its encoding.
    layout : tuple of int, or None
        The speaker of each channel, an index of :data:`SIDES`.  None: it is not known.
    """

    def __init__(self, what: Any, base: Any) -> None:
        self.name = _name_of(what)
        self._base = base
        self._own: Any = None  # to be closed with it
        self._file: Any = None
        self._failed: AudioException | None = None
        self._at = 0  # the frame that is read next
        self._rest: Any = ()  # of what libsndfile has read before
        self._dtype = "float32"
        self._told = False
        try:
            self._open(what)
            self._check()
        except BaseException as error:
            self.close()
            if isinstance(error, AudioException) or not isinstance(error, Exception):
                raise
            hint = "check the path, or convert it to WAV or FLAC"
            raise self._error(error, "cannot be read as a sound file", hint) from error

    # --- opening -------------------------------------------------------------------

    def _open(self, what: Any) -> None:
        if isinstance(what, bytes | bytearray | memoryview):
            raw: Any = io.BytesIO(what)
        elif isinstance(what, str | os.PathLike):
            raw = self._own = open(what, "rb")  # noqa: PTH123, SIM115  # of bytes, too
        else:
            raw = what
        if not _can_seek(raw):
            raw = io.BytesIO(b"".join(_pieces(raw)))
        self._raw = _Raw(raw)
        size = self._raw.measure()
        suffix = PurePath(self.name).suffix.lower()
        self._view = inspect(self._raw.at, size, suffix)
        path: Any = None
        if raw is self._own and self._view.is_plain(size):
            # libsndfile reads it by itself, without the interpreter lock.
            path = os.fsdecode(what) if sys.platform == "win32" else os.fsencode(what)
            self._own.close()
        self._path = path
        self._begin()
        self._tell(self._view.remark)

    def _begin(self) -> None:
        """Open it with libsndfile, at its first frame."""
        seen = self._path or _Seen(self._raw, self._view)
        try:
            self._file = _sequential(self._base)(seen)
        finally:
            self._raw.check()

    def _check(self) -> None:
        """Take in what the header says.

        Raises
        ------
        FormatError
            If that cannot be.
        """
        file, view = self._file, self._view
        self.rate, self.channels = int(file.samplerate), int(file.channels)
        if not 1000 <= self.rate <= MAX_RATE:
            raise FormatError(
                f"{self.name} says that its rate is {self.rate} Hz, which is outside 1000 to "
                f"{MAX_RATE}; its header may be damaged: write it again"
            )
        if self.channels > MAX_CHANNELS:
            raise FormatError(
                f"{self.name} says that it has {self.channels} channels, which is more than "
                f"{MAX_CHANNELS}; its header may be damaged: write it again"
            )
        self.subtype = str(file.subtype)
        self.layout = _layout_of(file)
        self._order = VORBIS_ORDER.get(self.channels) if file.format == "OGG" else None
        # libsndfile takes PAF in pieces of 2,048 samples, whole frames or not.
        samples = 2048 if file.format == "PAF" else PIECE
        self._frames = max(samples // self.channels & ~1, 2)
        self._has_floats = self.subtype in ("FLOAT", "DOUBLE")
        self.frames: int | None = view.frames
        self.is_estimate = view.is_open
        if view.frames is None and (not view.is_open or view.size > view.end):
            # Of a file that is said to be so much larger than it is.
            self.frames = int(file.frames) * view.end // view.size

    # --- reading -------------------------------------------------------------------

    def read(self, frames: int) -> np.ndarray:
        """Read on.

        What is no number is 0, infinity 1.0.

        Parameters
        ----------
        frames : int
            At most.

        Returns
        -------
        float32 (frames, channels)
            Fewer than asked for before the end and before what is damaged; then none.  It may
            share memory with what was read before, and is not to be changed.

        Raises
        ------
        AudioException
            If no frame can be read from here on, though there should be some.
        """
        pieces: list[np.ndarray] = []
        while frames > 0:
            if not len(self._rest):
                try:
                    self._rest = self._next_block()
                except AudioException:
                    if not pieces:
                        raise
                    break  # what was read comes first; the next read raises
                if not len(self._rest):
                    break
            pieces.append(self._rest[:frames])
            self._rest = self._rest[frames:]
            self._at += len(pieces[-1])
            frames -= len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else self._joined(pieces)

    def read_all(self, dtype: str = "float32") -> tuple[np.ndarray, AudioException | None]:
        """Read to the end, or to what is damaged, and then tell the error, too.

        Parameters
        ----------
        dtype : str
            "float32" or "int16"; the same for all that is read of the file.
        """
        self._dtype = dtype
        pieces, error = [], None
        try:
            while len(piece := self.read(PIECE)):
                pieces.append(piece)
        except AudioException as caught:
            error = caught
        return self._joined(pieces), error

    def _joined(self, pieces: list[np.ndarray]) -> np.ndarray:
        import numpy as np

        return np.concatenate([np.zeros((0, self.channels), self._dtype), *pieces])

    def _next_block(self) -> np.ndarray:
        """What libsndfile has next: always as many frames, as odd counts lose some of them."""
        import numpy as np

        if self._failed is not None:
            raise self._failed
        block = np.empty((self._frames, self.channels), self._dtype)
        words = block.view(np.int32 if self._dtype == "float32" else np.int16)
        words[:, 0] = UNTOUCHED[self._dtype]
        try:
            try:
                block = self._file.read(out=block)
            finally:
                self._raw.check()
        except Exception as error:
            # What was decoded before is there, and what was not touched is as it was.
            touched = np.flatnonzero(words[:, 0] != UNTOUCHED[self._dtype])
            block = block[: int(touched[-1]) + 1 if len(touched) else 0]
            place = (self._at + len(block)) / self.rate
            self._failed = self._error(
                error,
                f"cannot be read from {place:g} seconds on",
                "it may be cut short: write it again",
            )
            if not len(block):
                raise self._failed from error
        if not len(block):
            self._end()
        if self._order is not None:
            block = np.ascontiguousarray(block[:, self._order])
        if self._has_floats:
            np.nan_to_num(block, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
        return block

    def seek(self, frame: int) -> None:
        """Read on from a frame, from the end if there are fewer.

        Raises
        ------
        AudioException
            If that cannot be done.
        """
        self._failed = None
        self._rest = self._rest[:0]
        if self._base.seekable(self._file):
            # Of some formats libsndfile says only then that they have to be read to there.
            with contextlib.suppress(Exception):
                self._at = int(self._file.seek(frame))
                self._raw.check()
                return
        try:
            self._file.close()
            self._begin()
        except Exception as error:
            raise self._error(
                error, "cannot be opened again", "see that it is there"
            ) from error
        self._at = 0
        while self._at < frame and len(self.read(min(frame - self._at, PIECE))):
            pass

    def tell(self) -> int:
        """The frame that is read next."""
        return self._at

    def _end(self) -> None:
        """It has ended: now it is known how many frames there are."""
        if not self.is_estimate and self._at != self.frames:
            self._tell(f"its header claims {self.frames} frames, {self._at} are there")
        self.frames, self.is_estimate = self._at, False

    def _tell(self, remark: str) -> None:
        """Say once what is wrong with the header."""
        if remark and not self._told:
            self._told = True
            log.warning("%s: %s; what is there is played", self.name, remark)

    def _error(self, error: Exception, what: str, hint: str) -> AudioException:
        """What soundfile or a file object raised, as an AudioException."""
        said = getattr(error, "error_string", None) or str(error) or type(error).__name__
        return AudioException(f"{self.name}: {what} ({said}); {hint}")

    # --- the end -------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """It is closed."""
        return self._file is None or bool(self._file.closed)

    def close(self) -> None:
        """Close it; a file object that was given stays open.  Idempotent."""
        if self._file is not None:
            self._file.close()
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> SoundFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- file objects ------------------------------------------------------------------


def _name_of(what: Any) -> str:
    """What messages call it; without what a terminal or a log could not take."""
    if isinstance(what, str | os.PathLike):
        return os.fsencode(what).decode("utf-8", "backslashreplace")
    if isinstance(what, bytes | bytearray | memoryview):
        return "the sound in these bytes"
    name = getattr(what, "name", None)
    return name if isinstance(name, str) else "the sound in this file object"


def _can_seek(raw: Any) -> bool:
    """True if a file object can be read at any place."""
    try:
        return bool(raw.seekable()) if hasattr(raw, "seekable") else raw.tell() is not None
    except Exception:
        return False


def _pieces(raw: Any) -> Iterator[bytes]:
    while piece := raw.read(PIECE):
        yield piece


class _Raw:
    """A file object that is read at any place; for C code, which no exception can pass."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._size = 0
        self._error: Exception | None = None

    def measure(self) -> int:
        """Bytes in all."""
        self._file.seek(0, os.SEEK_END)
        self._size = int(self._file.tell())
        return self._size

    def at(self, place: int, count: int) -> bytes:
        """So many bytes from a place on, fewer at the end.

        Raises
        ------
        FormatError
            If they are no bytes.
        """
        if not 0 <= place < self._size:
            return b""
        self._file.seek(place)
        pieces = []
        while count > 0 and (piece := self._file.read(count)):
            if not isinstance(piece, bytes):
                raise FormatError(
                    f"a file object must give bytes, not {type(piece).__name__}; open it with "
                    '"rb"'
                )
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def safely_at(self, place: int, count: int) -> bytes:
        """The same; nothing after an error, which :meth:`check` raises."""
        try:
            return self.at(place, count)
        except Exception as error:
            self._error = error
            return b""

    def check(self) -> None:
        """Raise what reading has raised."""
        error, self._error = self._error, None
        if error is not None:
            raise error


class _Seen:
    """A file as a :class:`View` has it, for soundfile."""

    def __init__(self, raw: _Raw, view: View) -> None:
        self._raw = raw
        self._view = view
        self._at = 0

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        base = (0, self._at, self._view.size)[whence]
        self._at = max(base + place, 0)
        return self._at

    def tell(self) -> int:
        """The place that is read next."""
        return self._at

    def read(self, count: int) -> bytes:
        """Bytes from there on; fewer at the end."""
        view, at = self._view, self._at
        lead = min(max(-view.shift - at, 0), count)  # of what stands before the file
        room = max(min(count, view.end - at), lead)
        data = bytearray(lead) + self._raw.safely_at(at + lead + view.shift, room - lead)
        for place, patch in view.patches:
            # Beyond the end a patch is read on its own.
            first, last = max(place, at), min(place + len(patch), at + count)
            if first < last and first - at <= len(data):
                data[first - at : last - at] = patch[first - place : last - place]
        self._at += len(data)
        return bytes(data)


# --- channels ----------------------------------------------------------------------

HALF_POWER = 0.5**0.5
"""-3 dB."""

LEFT, RIGHT, BOTH, NONE = (1.0, 0.0), (0.0, 1.0), (HALF_POWER, HALF_POWER), (0.0, 0.0)
REAR_LEFT, REAR_RIGHT, REAR = (HALF_POWER, 0.0), (0.0, HALF_POWER), (0.5, 0.5)

SIDES = (
    None,
    BOTH,  # mono
    LEFT,
    RIGHT,
    BOTH,  # centre
    LEFT,  # front left
    RIGHT,  # front right
    BOTH,  # front centre
    REAR,  # rear centre
    REAR_LEFT,
    REAR_RIGHT,
    NONE,  # low frequencies
    LEFT,  # front left of the centre
    RIGHT,  # front right of the centre
    REAR_LEFT,  # side left
    REAR_RIGHT,  # side right
    REAR,  # top centre
    REAR_LEFT,  # top front left
    REAR_RIGHT,  # top front right
    REAR,  # top front centre
    REAR_LEFT,  # top rear left
    REAR_RIGHT,  # top rear right
    REAR,  # top rear centre
)
"""A speaker's number in libsndfile -> how loud it is on the left and on the right."""

LAYOUTS = {
    3: (2, 3, 4),
    4: (2, 3, 9, 10),
    5: (2, 3, 4, 9, 10),
    6: (2, 3, 4, 11, 9, 10),
    7: (2, 3, 4, 11, 8, 14, 15),
    8: (2, 3, 4, 11, 9, 10, 14, 15),
}
"""Channels -> their speakers, where the file does not tell; as in FLAC (RFC 9639, 9.1.3)."""

CHANNEL_MAP = 0x1100
"""libsndfile's SFC_GET_CHANNEL_MAP_INFO."""

MAPPED = ("WAV", "WAVEX", "RF64", "W64", "CAF")
"""Formats of which libsndfile tells the speakers; of AIFF it hands out freed memory."""


def _layout_of(file: Any) -> tuple[int, ...] | None:
    """The speaker of each channel of one of soundfile's files; None if it is not known."""
    import soundfile

    channels = int(file.channels)
    if file.format in MAPPED:
        with contextlib.suppress(AttributeError):  # they are soundfile's own affair
            numbers = soundfile._ffi.new("int[]", channels)
            if soundfile._snd.sf_command(file._file, CHANNEL_MAP, numbers, 4 * channels):
                layout = tuple(numbers)
                if all(0 < number < len(SIDES) for number in layout):
                    return layout
    return LAYOUTS.get(channels)


def downmix(layout: tuple[int, ...] | None, channels: int) -> list[list[float]] | None:
    """The matrix from three speakers or more to two channels or one, by ITU-R BS.775.

    Centre and surrounds are at -3 dB, low frequencies are left out, and no row's sum exceeds 1.

    Returns
    -------
    list of rows, or None
        None: channels go where :func:`audiostream.realtime.units.conversion.convert` puts them.
    """
    if layout is None or len(layout) < 3 or channels > 2:
        return None
    sides = [SIDES[speaker] or NONE for speaker in layout]
    rows = [[side[row] for side in sides] for row in (0, 1)]
    if channels == 1:
        rows = [[HALF_POWER * (left + right) for left, right in zip(*rows, strict=True)]]
    most = max(1.0, *(sum(row) for row in rows))
    return [[factor / most for factor in row] for row in rows]
