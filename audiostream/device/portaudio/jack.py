"""Whether JACK's server is there, asked of JACK itself; on the host's worker thread.

PortAudio aborts the process if a call into JACK fails: it asserts that none does.  So once the
server that it is connected to has ended, PortAudio is called no more, even if another server
runs by then.  And a call that may fail is made only if the server has just answered.
"""

from __future__ import annotations

import ctypes

__all__ = ("JACK", "Jack", "Witness")

JACK = 12  # paJACK

NO_START_SERVER = 1  # JackNoStartServer

_NAME = b"audiostream"


class Jack:
    """JACK's client library, as it is linked by PortAudio.

    Its calls block while the server is frozen, and return when it goes on or ends.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        client = ctypes.c_void_p
        self._open = library["jack_client_open"]
        self._open.restype = client
        self._open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
        self._close = library["jack_client_close"]
        self._close.argtypes = [client]
        self._on_shutdown = library["jack_on_shutdown"]
        self._on_shutdown.restype = None
        self._on_shutdown.argtypes = [client, ctypes.c_void_p, ctypes.c_void_p]

    @classmethod
    def of(cls, library: ctypes.CDLL) -> Jack | None:
        """Return the JACK that `library` links, or None if it links none."""
        return cls(library) if hasattr(library, "jack_client_open") else None

    def answers(self) -> bool:
        """Return whether there is a server that takes clients."""
        client = self._connect()
        if client is not None:
            self._close(client)
        return client is not None

    def watch(self) -> Witness | None:
        """Connect a witness to the server; None if there is no server."""
        client = self._connect()
        return None if client is None else Witness(self, client)

    def _connect(self) -> int | None:
        status = ctypes.c_int()
        client: int | None = self._open(_NAME, NO_START_SERVER, ctypes.byref(status))
        return client

    def note_end(self, client: int, word: ctypes.c_int64) -> None:
        """Have JACK write a number other than 0 to `word` when the client's server ends."""
        # JACK calls a function with one pointer: C's time() stores the time there, and
        # enters no interpreter, which may have ended by then.
        function = ctypes.cast(ctypes.CDLL(None).time, ctypes.c_void_p)
        self._on_shutdown(client, function, ctypes.addressof(word))

    def close(self, client: int) -> None:
        """End a client whose server answers."""
        self._close(client)


class Witness:
    """A client that only notices when its server ends.

    It must live until it is closed: JACK's thread writes to its memory.
    """

    def __init__(self, jack: Jack, client: int) -> None:
        self._jack = jack
        self._client = client
        self._word = ctypes.c_int64()
        jack.note_end(client, self._word)

    @property
    def gone(self) -> bool:
        """Whether the server has ended.  Never blocks."""
        return self._word.value != 0

    def close(self) -> None:
        """Disconnect, unless the server has ended: JACK may have freed the client then."""
        if not self.gone:
            self._jack.close(self._client)
