"""Sound files that grow, of every format that soundfile writes; any thread."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiostream.checks import shown
from audiostream.errors import AudioException, FormatError
from audiostream.forks import LOCKS
from audiostream.soundfiles.file_lock import lock_file, unlock_file

if TYPE_CHECKING:
    import numpy as np

__all__ = ("SoundWriter",)

REFRESH = 1.0
"""Seconds from one header to the next."""

REOPENED = ("WAV", "WAVEX", "AIFF", "CAF", "W64", "RF64", "AU")
"""Formats whose header says how long they are: it is written when they are closed."""

COMPRESSED = ("ADPCM", "GSM", "NMS", "G72", "ALAC", "DWVW")
"""Parts of the names of encodings that cannot be gone on with."""

SHORT_HEADERS = ("WAV", "WAVEX", "AIFF", "AU")
"""Formats whose header has 32 bits for the number of bytes."""

MOST = (1 << 32) - (1 << 16)
"""Bytes of such a file, its header left out."""


class SoundWriter:
    """A sound file that is this one's alone until it is closed.

    All but its last second can be read at any moment, however the process ends, if its format
    is one of :data:`REOPENED` and not compressed.  Others are complete once they are closed.

    Parameters
    ----------
    path : str
        Its suffix names the format.  What the file held before is gone.
    rate, channels : int
    subtype : str, optional
        soundfile's name of the encoding, such as "PCM_24"; the format's usual one if not given.

    Raises
    ------
    FormatError
        If `subtype` is no str.
    AudioException
        If soundfile is not installed, if the file cannot be written, or is being written by
        another one.
    """

    def __init__(self, path: str, rate: int, channels: int, subtype: str | None = None) -> None:
        if not isinstance(subtype, str | None):
            raise FormatError(
                f'subtype={shown(subtype)} is no name of an encoding; try "PCM_24", or None'
            )
        self._path = path = str(Path(path).absolute())  # another folder may be the current one
        self._frames = 0
        self._lock = threading.Lock()
        LOCKS.add(self, _lock=threading.Lock)
        folder = Path(path).parent
        if not folder.is_dir():
            raise self._error(f"there is no folder {folder}")
        try:
            import soundfile
        except ImportError:
            raise AudioException(
                "writing sound files needs soundfile; try: pip install audiostream[files]"
            ) from None
        # soundfile asserts that all was written.
        self._errors = (
            soundfile.SoundFileError,
            AssertionError,
            OSError,
            TypeError,
            ValueError,
        )
        self._open = soundfile.SoundFile
        is_new = not os.path.lexists(path)
        self._fd = self._taken()
        try:
            self._file: Any = self._open(path, "w", rate, channels, subtype=subtype)
        except self._errors as error:
            self._give_back()
            if is_new:
                Path(path).unlink(missing_ok=True)
            raise self._error(f"{error}; try a name such as song.wav or song.flac") from None
        self._format = self._file.format
        self._is_reopened = self._format in REOPENED and not any(
            name in self._file.subtype for name in COMPRESSED
        )
        self._due = time.monotonic() + REFRESH

    def _error(self, reason: str) -> AudioException:
        return AudioException(f"{self._path} cannot be written: {reason}")

    def _taken(self) -> int:
        """A descriptor that locks the file, which is not truncated."""
        if os.path.lexists(self._path) and not Path(self._path).is_file():
            raise self._error("it is no ordinary file")
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise self._error(error.strerror or str(error)) from None
        if not lock_file(fd):
            os.close(fd)
            raise self._error(
                "another output or recording writes it; close that one, or use another name"
            )
        return fd

    def _give_back(self) -> None:
        unlock_file(self._fd)
        os.close(self._fd)

    @property
    def frames(self) -> int:
        """Frames written."""
        return self._frames

    def write(self, block: np.ndarray) -> None:
        """Write float32 (frames, channels); what is beyond full scale is limited.

        Raises
        ------
        AudioException
            If it cannot be written, or the format holds no more; what was written before is
            there.
        """
        with self._lock:
            if self._format in SHORT_HEADERS:
                size = os.fstat(self._fd).st_size
                if size + 8 * block.size > MOST:  # float64 at the most
                    raise self._error(
                        f"it is full, since {self._format} holds 4 GiB; what was written is "
                        "there: try the suffix .flac, .w64 or .rf64"
                    )
            try:
                self._file.write(block)
                self._frames += len(block)
                if self._is_reopened and time.monotonic() >= self._due:
                    self._file.close()
                    # By the descriptor: the name may be another file's by now.
                    os.lseek(self._fd, 0, os.SEEK_SET)
                    self._file = self._open(os.dup(self._fd), "r+")
                    self._file.seek(self._frames)  # AIFF may have a byte after them
                    self._due = time.monotonic() + REFRESH
            except self._errors as error:
                raise self._error(str(error) or "is the disk full?") from None

    def close(self) -> None:
        """Complete the file.  Idempotent.

        Raises
        ------
        AudioException
            If that cannot be done.
        """
        with self._lock:
            if self._fd < 0:
                return
            try:
                self._file.close()
            except self._errors as error:
                raise self._error(str(error) or "is the disk full?") from None
            finally:
                self._give_back()
                self._fd = -1

    def __enter__(self) -> SoundWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
