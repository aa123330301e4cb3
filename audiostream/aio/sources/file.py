"""Sound files as a source, read piece by piece; event loop, the disk on a worker thread."""

from __future__ import annotations

import contextlib
import math
import threading
from typing import Any

import anyio.to_thread
import numpy as np

from audiostream.aio.sources.convert import Converter
from audiostream.aio.sources.source import Source
from audiostream.checks import check_flag, check_number
from audiostream.engine.sample_input import Samples, check_matrix, remixed
from audiostream.errors import AudioException, FormatError
from audiostream.forks import LOCKS
from audiostream.pcm import Format
from audiostream.realtime.compile.kernels import Kernels
from audiostream.soundfiles import SoundFile, downmix, open_sound

__all__ = ("File", "file", "load_file")

PIECE = 0.25
"""Seconds that are read at a time: each piece costs a trip to a worker thread."""

FADE = 0.008
"""Seconds in which what came before a seek fades into what comes after it."""


class Remix:
    """A file's channels to fewer or others: by a matrix, or by the standard downmix.

    Parameters
    ----------
    opened : SoundFile
    channels : int
        Of what plays it.
    matrix : array_like (channels, opened.channels), optional
        How loud each channel of the file is in each of those.

    Attributes
    ----------
    channels : int
        Of what :meth:`of` gives.

    Raises
    ------
    FormatError
        For a matrix that cannot be used.
    """

    def __init__(
        self, kernels: Kernels, opened: SoundFile, channels: int, matrix: Any = None
    ) -> None:
        if matrix is None:
            matrix = downmix(opened.layout, channels)
        self._kernels = kernels
        self._matrix: np.ndarray | None = None
        self.channels = opened.channels
        if matrix is not None:
            self._matrix = check_matrix(matrix, channels, opened.channels)
            self.channels = channels

    def of(self, block: np.ndarray) -> np.ndarray:
        """Float32 (frames, channels) of the file to that of what plays it."""
        if self._matrix is None:
            return block
        samples = Samples(block, block.shape[1], 32)
        return remixed(self._kernels, samples, self._matrix).data


def load_file(
    what: Any, kernels: Kernels, channels: int, matrix: Any = None
) -> tuple[np.ndarray, int]:
    """Read a whole file: float32 (frames, its channels or `channels`), and its rate (Hz).

    Raises
    ------
    AudioException, FormatError
        As :func:`audiostream.soundfiles.open_sound`, for damage, and for a matrix that cannot
        be used.
    """
    with open_sound(what, "sound") as opened:
        remix = Remix(kernels, opened, channels, matrix)
        samples, error = opened.read_all()
    if error is not None:
        raise error
    return remix.of(samples), opened.rate


class File(Source):
    """A sound file (WAV, FLAC, OGG, MP3 and others), converted to the sample's rate.

    Parameters
    ----------
    path : str, PathLike, bytes-like or binary file object
        A path; or what such a file holds; or an open file, which is read from its beginning and
        left open.
    loop : bool
        Begin again at the end, without a gap.  May be set while it plays.
    start : float
        Seconds from the beginning.
    matrix : array_like (channels of the sample, channels of the file), optional
        How loud each channel of the file is in each of the sample's; checked when it is played.
        The file's are in the order of WAV and FLAC: left, right, centre, low frequencies, rear
        left and right, side left and right.  None: three channels or more to stereo or mono by
        ITU-R BS.775, from the speakers that the file tells; otherwise as what is written to a
        sample.

    Raises
    ------
    AudioException
        If soundfile is not installed, or the file cannot be read.
    FormatError
        For what is no file, a `start` that is not in it, or a rate or channels that cannot be
        used.
    """

    def __init__(
        self, path: Any, loop: bool = False, start: float = 0.0, *, matrix: Any = None
    ) -> None:
        self.loop = check_flag(loop, "loop")
        self._file = open_sound(path)
        self.path = path
        self._matrix = matrix
        self._reading = threading.Lock()  # closing waits for it
        LOCKS.add(self, _reading=threading.Lock)
        self._piece: np.ndarray | None = None  # was read, and is not taken yet
        self._seek: int | None = None
        self._ended = False
        self._is_heard = False  # since it began
        self._failed: AudioException | None = None
        try:
            self._seek = self._frame_at(start, "start")
        except FormatError:
            self.close()
            raise

    @property
    def _own_format(self) -> Format:
        """The rate and channels of the file itself."""
        return Format(self._file.rate, self._file.channels, 32)

    @property
    def duration(self) -> float:
        """Seconds in all; infinite while that is not known.

        A FLAC file may leave it open, and of an MP3 without its header it is an estimate,
        until the end was read.
        """
        frames = self._file.frames
        return math.inf if frames is None else frames / self._file.rate

    @property
    def position(self) -> float:
        """Seconds from the beginning of what is read next; ahead of what is heard."""
        seek = self._seek
        return (self._file.tell() if seek is None else seek) / self._file.rate

    def seek(self, seconds: float) -> None:
        """Go on from `seconds` from the beginning; any thread.

        What was read before is heard first, and fades out within 8 ms; ``clear`` the sample for
        a jump at once.

        Raises
        ------
        FormatError
            If that is not in the file.
        """
        self._seek = self._frame_at(seconds, "seconds")

    def _frame_at(self, seconds: float, name: str) -> int:
        opened = self._file
        length = f"{opened.name} is {self.duration:g} seconds long"
        seconds = check_number(seconds, name, 0, 1e9, length)
        if seconds > self.duration and not opened.is_estimate:
            raise FormatError(f"{name}={seconds!r} is not in the file: {length}")
        return round(seconds * opened.rate)

    def begin(self, format: Format, kernels: Kernels) -> None:
        """Make ready for the sample's rate; it is read on from where it stands.

        Raises
        ------
        FormatError
            For a matrix that does not fit.
        """
        super().begin(format, kernels)
        opened = self._file
        self._remix = Remix(kernels, opened, format.channels, self._matrix)
        self._converter = Converter(opened.rate, self._remix.channels, format, kernels)
        self._ended = self._is_heard = False
        self._failed = None

    async def get_bytes(self) -> Any:
        """Read a piece; None at the end, until :meth:`seek`, and once it is closed.

        Raises
        ------
        AudioException
            If the file is damaged there; what was read before was given before.
        """
        if self._ended and self._seek is None:
            return None
        while True:
            if self._failed is not None and self._seek is None:
                raise self._failed
            self._failed = None
            try:
                # A piece that is read while its reader is cancelled is the next one's.
                await anyio.to_thread.run_sync(self._read)
                block, self._piece = self._piece, None
                assert block is not None
            except AudioException as error:
                self._failed = error
                block = np.zeros((0, self._file.channels), np.float32)
            self._is_heard = len(block) > 0
            self._ended = not self._is_heard and self._failed is None
            block = self._converter.convert(self._remix.of(block), last=not self._is_heard)
            if len(block) or self._ended:  # a resampler may hold back all of a piece
                return block if len(block) else None

    def after_cut(self, chunk: Any) -> Any:
        """Fade in a chunk that follows a clear of its sample."""
        frames = min(round(FADE * self.format.rate), len(chunk))
        chunk[:frames] *= _rise(frames)
        return chunk

    def _read(self) -> None:
        """Have the next piece, float32 (frames, channels); empty at the end.  Worker thread."""
        opened = self._file
        with self._reading:
            left, self._piece = self._piece, None
            if opened.closed:
                self._piece = np.zeros((0, opened.channels), np.float32)
            elif self._seek is None:
                self._piece = self._read_on(self._frames) if left is None else left
            else:
                frame, self._seek = self._seek, None
                self._piece = self._read_from(frame, left)

    def _read_from(self, frame: int, left: np.ndarray | None) -> np.ndarray:
        """Seek, and read on; `left`, which would have come, fades out while that fades in."""
        opened = self._file
        fade = round(FADE * opened.rate)
        if left is None:
            left = np.zeros((0, opened.channels), np.float32)
            if self._is_heard:
                with contextlib.suppress(AudioException):  # what is damaged is left
                    left = opened.read(fade)
        opened.seek(frame)
        block = self._read_on(self._frames)
        frames = min(fade, len(left), len(block))
        rise = _rise(frames)
        block[:frames] = block[:frames] * rise + left[:frames] * (1 - rise)
        return block

    @property
    def _frames(self) -> int:
        """Frames of a piece."""
        return max(round(PIECE * self._file.rate), 1)

    def _read_on(self, frames: int) -> np.ndarray:
        opened = self._file
        pieces = [np.zeros((0, opened.channels), np.float32)]
        while frames:
            try:
                piece = opened.read(frames)
            except AudioException:
                if len(pieces) == 1:
                    raise
                break  # what was read comes first; the next one raises
            if self.loop and 0 < len(piece) == opened.frames == opened.tell() < frames:
                # All of it.  A short one is not read again and again.
                pieces += [piece] * (frames // len(piece))
                frames %= len(piece)
                opened.seek(0)
            elif len(piece):
                pieces.append(piece)
                frames -= len(piece)
            elif self.loop and opened.tell():
                opened.seek(0)
            else:
                break
        return np.concatenate(pieces)

    def close(self) -> None:
        """Close the file, which ends a play of it.  Idempotent.

        A file object that was given stays open.
        """
        with self._reading:
            self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


def _rise(frames: int) -> np.ndarray:
    """From nothing to all: float32 (frames, 1)."""
    return ((np.arange(frames, dtype=np.float32) + 0.5) / max(frames, 1))[:, None]


def file(path: Any, loop: bool = False, start: float = 0.0, *, matrix: Any = None) -> File:
    """Open a sound file as a source; see :class:`File`."""
    return File(path, loop, start, matrix=matrix)
