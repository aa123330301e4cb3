"""``ThreadSource``, the documented generator; a thread of its own, or a shared event loop."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostream.aio.sources.source import MAX_AHEAD, block_for
from audiostream.checks import check_integer, check_number, shown
from audiostream.compat.sample import AudioSample, Shadowed
from audiostream.errors import FormatError
from audiostream.forks import LOCKS
from audiostream.sources.background import LoopRun, Run, ThreadRun, is_on_loop

if TYPE_CHECKING:
    from typing_extensions import Self

    from audiostream.aio.output import AudioOutput

__all__ = ("ThreadSource",)


def check_output(stream: Any) -> None:
    """See that a source is given an output.

    Raises
    ------
    FormatError
        If it is none.
    """
    if not hasattr(stream, "add_sample") or isinstance(stream, type):
        raise FormatError(f"stream={shown(stream)} is no output; try one from get_output()")


class ThreadSource(AudioSample):
    """A sample that generates what it plays: subclasses override :meth:`get_bytes`.

    An ordinary ``get_bytes`` runs in a thread of its own and may block; ``async def
    get_bytes`` runs on one asyncio event loop in the background that all such sources share.
    If it raises, ``threading.excepthook`` is told once, the source stops, and others play on.

    Parameters
    ----------
    stream : AudioOutput
        The output; the source is added to it.
    ahead : int, optional
        Frames that are generated ahead of the device at most, two blocks at least: what
        changes is heard so many frames, one answer of ``get_bytes`` and the device's latency
        later.  If not given, as many as the ring of a sample holds, and at most a tenth of
        a second with ``async def get_bytes``.
    *args, **kwargs
        What code written for the original passes on; ignored.

    Attributes
    ----------
    rate, channels, encoding, buffersize : int
        The output's.
    daemon : bool
        Whether the interpreter may end while it plays; before :meth:`start`.
    """

    _run: Run | None
    _stopping: bool
    _control: threading.RLock
    daemon: bool
    ahead: int | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make it whole before ``__init__``, which subclasses might call late."""
        source = super().__new__(cls)
        source._run = None
        source._stopping = False
        # One start or stop at a time: of two runs, a stop would end the last one only.
        source._control = threading.RLock()
        LOCKS.add(source, _control=threading.RLock)
        source.daemon = True
        source.ahead = None
        return source

    def __init__(
        self, stream: AudioOutput, *args: Any, ahead: int | None = None, **kwargs: Any
    ) -> None:
        del args, kwargs
        check_output(stream)
        if ahead is not None:
            ahead = check_integer(ahead, "ahead", "frames", least=0, most=MAX_AHEAD)
        self.ahead = ahead
        self.buffersize = stream.buffersize
        self.channels = stream.channels
        self.rate = stream.rate
        self.encoding = stream.encoding
        stream.add_sample(self)

    @Shadowed
    def block(self) -> int:
        """Frames that the ready-made sources make at a time."""
        return block_for(self.rate // 10 if self.ahead is None else self.ahead)

    @Shadowed
    def sample(self) -> ThreadSource:
        """The sample that it writes to: itself."""
        return self

    # --- what subclasses write ---------------------------------------------------

    def get_bytes(self) -> Any:
        """Make the next chunk.

        Returns
        -------
        bytes
            In the output's rate, channels and encoding; or an array as ``write`` takes it.
            An empty one: nothing to say now, ask again a buffer later.  None: this is the
            end, what was made before is still heard.
        """
        return b""

    def next_block(self) -> np.ndarray:
        """What ``get_bytes`` of a source that never blocks encodes, float32."""
        raise NotImplementedError

    # --- control -----------------------------------------------------------------

    def start(self) -> None:
        """Generate and play.  Idempotent; works again after :meth:`stop`.  Any thread.

        Raises
        ------
        AudioException
            If the source was removed from its output.
        StreamClosedError, DeviceError
            If the output is closed or its device gone.
        """
        with self._control:
            if self.is_alive() and not self._stopping:
                return
            voice = self._attached("start")
            voice.check()
            self.play()
            self._stopping = False
            again = self._run is not None
            if (
                not again
                and getattr(self.get_bytes, "__func__", None) is ThreadSource.get_bytes
            ):
                _warn_of_silence(self)
            self._run = LoopRun(self, again) if is_on_loop(self) else ThreadRun(self)

    def stop(self) -> None:
        """End the generator, fade out and drop what is queued.  Idempotent; any thread.

        It ends even while it waits in ``write``; in the middle of ``get_bytes`` its answer
        is the last, and is not heard.  :meth:`join` waits for that.
        """
        with self._control:
            self._stopping = True
            if self._run is not None:
                self._run.stop()
            super().stop()

    def is_alive(self) -> bool:
        """True while the generator runs."""
        run = self._latest_run()
        return run is not None and run.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the generator has ended; at most `timeout` seconds."""
        if timeout is not None:
            timeout = check_number(timeout, "timeout", 0, threading.TIMEOUT_MAX, "in seconds")
        run = self._latest_run()
        if run is not None:
            run.join(timeout)

    def _latest_run(self) -> Run | None:
        with self._control:  # what is just begun by another thread, too
            return self._run

    # --- for the ready-made sources, and what an output does ---------------------

    def encoded(self, block: np.ndarray) -> bytes:
        """Float32 (frames, channels) in the output's encoding."""
        voice = self._attached("play")
        block = np.ascontiguousarray(block, np.float32)
        data = np.empty(block.size, voice.format.dtype)
        voice.output.kernels.encode_block(
            block.ctypes.data, data.ctypes.data, self.encoding, block.size
        )
        return data.tobytes()

    def attach(self, output: AudioOutput) -> None:
        """Called by ``add_sample``."""
        before = self._voice
        super().attach(output)
        voice = self._attached("play")
        if voice is before:
            return
        if self.ahead is not None:
            voice.set_limit(self.ahead)


def _warn_of_silence(source: ThreadSource) -> None:
    """Say that a source makes nothing; a function, since names in a source are its writer's."""
    logging.getLogger("audiostream").warning(
        "%s.get_bytes is not overridden, and so the source is silent; define "
        "get_bytes(self) in the class, which returns the next chunk",
        type(source).__name__,
    )
