"""Sound files as a source, read piece by piece; event loop, the disk on a worker thread."""

from __future__ import annotations

import os
import threading
from os import PathLike
from typing import Any

import anyio.to_thread
import numpy as np

from audiostream.aio.sources.convert import Converter
from audiostream.aio.sources.source import Source
from audiostream.checks import check_flag, check_number, check_path
from audiostream.errors import AudioException
from audiostream.forks import LOCKS
from audiostream.pcm import Format
from audiostream.realtime.compiled import Kernels

__all__ = ("File", "file", "open_sound")

PIECE = 0.25
"""Seconds that are read at a time: each piece costs a trip to a worker thread."""


def open_sound(path: str | PathLike[str]) -> Any:
    """Open a sound file with soundfile.

    Raises
    ------
    AudioException
        If soundfile is not installed, or the file cannot be read.
    """
    try:
        import soundfile
    except ImportError as error:
        raise AudioException(
            'sound files need soundfile; try pip install "audiostream[files]"'
        ) from error
    path = check_path(path, "path", '"name.wav"')
    try:
        return soundfile.SoundFile(os.fsencode(path))  # names of any bytes
    except (OSError, RuntimeError, TypeError) as error:
        raise AudioException(
            f"{path}: cannot be read as a sound file ({error}); check the path, or convert "
            "it to WAV or FLAC"
        ) from error


class File(Source):
    """A sound file (WAV, FLAC, OGG, MP3 and others), converted to the sample's rate.

    Parameters
    ----------
    path : str or PathLike
    loop : bool
        Begin anew at the end, without a gap.  May be set while it plays.
    start : float
        Seconds from the beginning.

    Raises
    ------
    AudioException
        If soundfile is not installed, or the file cannot be read.
    FormatError
        For a `start` that is not in the file.
    """

    def __init__(
        self, path: str | PathLike[str], loop: bool = False, start: float = 0.0
    ) -> None:
        self._file = open_sound(path)
        self.path = path
        self.loop = check_flag(loop, "loop")
        self._reading = threading.Lock()  # closing waits for it
        LOCKS.add(self, _reading=threading.Lock)
        self._next = 0  # the frame that is read next
        self._seek: int | None = self._frame_at(start, "start")
        self._ended = False
        self._piece: np.ndarray | None = None  # was read, and is not taken yet

    @property
    def duration(self) -> float:
        """Seconds in all."""
        return float(self._file.frames / self._file.samplerate)

    @property
    def position(self) -> float:
        """Seconds from the beginning of what is read next; ahead of what is heard."""
        seek = self._seek
        return float((self._next if seek is None else seek) / self._file.samplerate)

    def seek(self, seconds: float) -> None:
        """Go on from `seconds` from the beginning; any thread.

        What was read before is heard first; ``clear`` the sample for a jump at once.

        Raises
        ------
        FormatError
            If that is not in the file.
        """
        self._seek = self._frame_at(seconds, "seconds")

    def _frame_at(self, seconds: float, name: str) -> int:
        hint = f"that is not in {self.path}"
        seconds = check_number(seconds, name, 0, self.duration, hint)
        frame: int = round(seconds * self._file.samplerate)
        return frame

    def begin(self, format: Format, kernels: Kernels) -> None:
        """Make ready for the sample's rate; it is read on from where it stands."""
        super().begin(format, kernels)
        file = self._file
        self._converter = Converter(file.samplerate, file.channels, format, kernels)
        self._ended = False

    async def get_bytes(self) -> Any:
        """Read a piece; None at the end, until :meth:`seek`, and once it is closed.

        Raises
        ------
        AudioException
            If the file is damaged there.
        """
        if self._ended and self._seek is None:
            return None
        # A piece that is read while its reader is cancelled is the next one's.
        await anyio.to_thread.run_sync(self._read)
        block, self._piece = self._piece, None
        assert block is not None
        self._ended = not len(block)
        block = self._converter.convert(block, last=self._ended)
        return block if len(block) else None

    def _read(self) -> None:
        """Have the next piece, float32 (frames, channels); empty at the end.  Worker thread."""
        file = self._file
        with self._reading:
            if self._piece is not None and self._seek is None:
                return
            self._piece = None
            if file.closed:
                self._piece = np.zeros((0, file.channels), np.float32)
                return
            try:
                self._piece = self._read_on(max(round(PIECE * file.samplerate), 1))
            except (OSError, RuntimeError) as error:
                raise AudioException(
                    f"{self.path}: cannot be read from {self.position:g} seconds on ({error}); "
                    "it may be cut short: make it anew"
                ) from error

    def _read_on(self, frames: int) -> np.ndarray:
        file = self._file
        if self._seek is not None:
            self._next, self._seek = self._seek, None
            file.seek(self._next)
        pieces = [file.read(frames, dtype="float32", always_2d=True)]
        frames -= len(pieces[0])
        while self.loop and frames:
            file.seek(0)
            piece = file.read(frames, dtype="float32", always_2d=True)
            if not len(piece):
                break  # a file of nothing, whatever its header says
            # One that is shorter than what is missing is not read again and again.
            times = frames // len(piece)
            pieces += [piece] * times
            frames -= times * len(piece)
        self._next = file.tell()
        return np.concatenate(pieces)

    def close(self) -> None:
        """Close the file, which ends a play of it.  Idempotent."""
        with self._reading:
            self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


def file(path: str | PathLike[str], loop: bool = False, start: float = 0.0) -> File:
    """Open a sound file as a source; see :class:`File`."""
    return File(path, loop, start)
