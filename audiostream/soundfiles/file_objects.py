"""File objects as C code needs them: read at any place, with no exception; any thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from audiostream.errors import FormatError
from audiostream.soundfiles.headers import View

__all__ = ("RawFile", "SeenFile", "can_seek", "chunks_of")

CHUNK = 1 << 16
"""Bytes that are read at a time of a file object that cannot seek."""


def can_seek(raw: Any) -> bool:
    """True if a file object can be read at any place."""
    try:
        return bool(raw.seekable()) if hasattr(raw, "seekable") else raw.tell() is not None
    except Exception:
        return False


def chunks_of(raw: Any) -> Iterator[bytes]:
    """The rest of a file object, in chunks."""
    while piece := raw.read(CHUNK):
        yield piece


class RawFile:
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


class SeenFile:
    """A file as a :class:`View` has it, for soundfile."""

    def __init__(self, raw: RawFile, view: View) -> None:
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
