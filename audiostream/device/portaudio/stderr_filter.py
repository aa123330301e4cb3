"""Keeps stderr free of what PortAudio, ALSA and JACK print by themselves; caller threads."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import tempfile
from collections.abc import Iterator

__all__ = ("StderrFilter", "audible", "silence")

_NOISE = re.compile(
    rb"Expression '.*' failed in '.*', line: \d+"
    rb"|ALSA lib "
    rb"|\|\|PaMacCore "
    rb"|JackShmReadWritePtr"
    rb"|jack server is not running"
    rb"|Cannot connect to server (socket|request channel)"
    rb"|attempt to connect to server failed"
    rb"|connect\(2\) call to .* failed"
)


def silence(library: ctypes.CDLL) -> None:
    """Stop ALSA's and JACK's reports on stderr, and JACK's starting of servers.

    Their handlers become a function of libc that ignores its arguments: a Python
    function would enter the interpreter on the audio thread.
    """
    os.environ.setdefault("JACK_NO_START_SERVER", "1")
    for name in (
        "snd_lib_error_set_handler",
        "jack_set_error_function",
        "jack_set_info_function",
    ):
        setter = getattr(library, name, None)
        if setter is not None:
            setter.argtypes, setter.restype = [ctypes.c_void_p], None
            setter(ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p))


def audible(text: bytes) -> bytes:
    """Return `text` without the lines that PortAudio, ALSA and JACK are known to print."""
    lines = []
    dropped = False
    for line in text.splitlines(keepends=True):
        # JACK sets its lines apart by empty ones.
        dropped = _NOISE.match(line) is not None or (dropped and not line.strip())
        if not dropped:
            lines.append(line)
    return b"".join(lines)


class StderrFilter:
    """Catches file descriptor 2 for a moment and lets through what is not noise.

    PortAudio's own lines have no hook.  The descriptor belongs to the whole process:
    what other threads print meanwhile comes out late, but comes out.
    """

    def __init__(self) -> None:
        self._saved = -1

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        """Catch what is printed within; one thread at a time."""
        with contextlib.ExitStack() as stack:
            try:
                caught = stack.enter_context(tempfile.TemporaryFile())
                self._saved = os.dup(2)
            except OSError:  # stderr is closed, or there is nowhere to put a file
                yield
                return
            try:
                os.dup2(caught.fileno(), 2)
                yield
            finally:
                saved, self._saved = self._saved, -1
                os.dup2(saved, 2)
                os.close(saved)
                caught.seek(0)
                rest = audible(caught.read())
                if rest:
                    os.write(2, rest)

    def restore_in_child(self) -> None:
        """After a fork in another thread's capture: give the child its stderr back."""
        if self._saved >= 0:
            os.dup2(self._saved, 2)
