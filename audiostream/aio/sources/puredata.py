"""Pure Data patches as a source, and what they say as async iterators.

The patch computes in the event loop's thread, microseconds at a time; the other methods may
be called from any thread.
"""

from __future__ import annotations

import threading
from collections import deque
from os import PathLike
from types import TracebackType
from typing import Any, Generic, TypeVar

import anyio
import anyio.lowlevel
import numpy as np

from audiostream import libpd
from audiostream.aio.sources.convert import Converter
from audiostream.aio.sources.source import Source
from audiostream.aio.wakeup import setter
from audiostream.checks import check_audio
from audiostream.errors import FormatError, PatchClosedError
from audiostream.forks import LOCKS
from audiostream.libpd import Midi
from audiostream.pcm import Format
from audiostream.realtime.compile.kernels import Kernels

__all__ = ("LivePatch", "Messages", "Patch", "patch")

FED = 1.0
"""Seconds of input that wait for the patch at most."""

T = TypeVar("T")


class Messages(Generic[T]):
    """What a patch says from now on, oldest first: ``async for``, or :meth:`get`.

    At most 1,024 items wait; then the newest replace the oldest, which :attr:`dropped`
    counts.  The iteration ends when the subscription or the patch is closed.  One task
    iterates at a time; :meth:`get` and :meth:`drain` work from any thread.
    """

    def __init__(self, queue: libpd.Queue[T]) -> None:
        self._queue = queue
        self.get = queue.get
        self.drain = queue.drain

    @property
    def dropped(self) -> int:
        """Items that were lost because they were not taken in time."""
        return self._queue.dropped

    def __aiter__(self) -> Messages[T]:
        return self

    async def __anext__(self) -> T:
        queue = self._queue
        await anyio.lowlevel.checkpoint()  # before: what is taken is handed out
        while (item := queue.get()) is None:
            event = anyio.Event()
            queue.notify = setter(event)
            # Looked at after it is asked for: what comes from now on sets the event.
            if not len(queue):
                if queue.closed:
                    raise StopAsyncIteration
                await event.wait()
        return item

    def close(self) -> None:
        """End the subscription.  Idempotent; what is there can still be taken."""
        self._queue.close()
        notify = self._queue.notify
        if notify is not None:
            notify()  # a task that waits for more looks again

    def __enter__(self) -> Messages[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class LivePatch(libpd.Patch):
    """A patch that is heard while it is steered; see :class:`audiostream.libpd.Patch`."""

    def __init__(
        self,
        patchfile: str | PathLike[str],
        rate: int = 44100,
        channels: int = 2,
        inputs: int = 0,
        strict: bool = False,
        carrier: str | None = None,
    ) -> None:
        self._fed: deque[np.ndarray] = deque()
        self._fed_lock = threading.Lock()
        LOCKS.add(self, _fed_lock=threading.Lock)
        super().__init__(patchfile, rate, channels, inputs, strict, carrier)

    def messages(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        """Subscribe to what the patch sends to `name`.

        Returns
        -------
        Messages
            For ``async for message in patch.messages("name")``; a message has a
            ``selector`` ("float", "bang", ...) and ``atoms``.
        """
        return Messages(super().messages(name, *arguments, **keywords))

    def midi(self, *arguments: Any, **keywords: Any) -> Any:
        """Subscribe to the MIDI that the patch sends; as :meth:`messages`."""
        queue: libpd.Queue[Midi] = super().midi(*arguments, **keywords)
        return Messages(queue)

    def feed(self, data: Any) -> None:
        """Have [adc~] hear a microphone's block; any thread.

        At most a second waits; then the oldest is dropped.  While nothing waits, it hears
        silence.

        Parameters
        ----------
        data : bytes-like or ndarray
            Bytes are 16-bit samples; arrays and typed buffers int16 or float32, ``(frames,)``
            of one input or ``(frames, inputs)``; at the patch's rate.

        Raises
        ------
        FormatError
            If the patch has no inputs, or the data do not fit them.
        TypeError
            If `data` is not bytes-like.
        """
        if not self.inputs:
            raise FormatError("this patch was opened without inputs; try inputs=1")
        given = check_audio(data)
        if isinstance(given, np.ndarray):
            array = given[:, None] if given.ndim == 1 else given
        else:
            array = np.frombuffer(given, np.uint8)
            if not len(array) % (2 * self.inputs):
                array = array.view(np.int16).reshape(-1, self.inputs)
        if array.dtype == np.int16:
            array = array / np.float32(32768)
        if array.dtype != np.float32 or array.ndim != 2 or array.shape[1] != self.inputs:
            raise FormatError(
                f"an array of {array.dtype}, shape {array.shape}, cannot be fed to "
                f"{self.inputs} input(s); try int16 or float32 of shape "
                f"(frames, {self.inputs})"
            )
        with self._fed_lock:
            self._fed.append(array.astype(np.float32))
            while sum(map(len, self._fed)) > max(FED * self.rate, len(self._fed[-1])):
                self._fed.popleft()

    def play_on(self, frames: int) -> np.ndarray:
        """Compute the next frames, with what was fed; float32 (frames, channels)."""
        if not self.inputs:
            return self.process(frames)
        heard = np.zeros((frames, self.inputs), np.float32)
        done = 0
        with self._fed_lock:
            while done < frames and self._fed:
                block = self._fed.popleft()
                count = min(frames - done, len(block))
                heard[done : done + count] = block[:count]
                done += count
                if count < len(block):
                    self._fed.appendleft(block[count:])
        return self.process(frames, heard)


class Patch(LivePatch, Source):
    """A patch as a source for :meth:`AudioSample.write_from`.

    It runs at its own `rate` and `channels`, and is converted to the sample's.  See
    :class:`audiostream.libpd.Patch` for the parameters and for what else it can do.
    """

    def begin(self, format: Format, kernels: Kernels) -> None:
        """Make ready for the sample's rate; the patch goes on where it stands."""
        self.format = format
        self._converter = Converter(self.rate, self.channels, format, kernels)

    async def get_bytes(self) -> Any:
        """Compute some blocks; None once the patch is closed."""
        try:
            return self._converter.convert(self.play_on(self.block))
        except PatchClosedError:
            return None


def patch(
    patchfile: str | PathLike[str],
    rate: int = 44100,
    channels: int = 2,
    inputs: int = 0,
    strict: bool = False,
    carrier: str | None = None,
) -> Patch:
    """Open a Pure Data patch as a source; see :class:`Patch`.  Blocks for milliseconds."""
    return Patch(patchfile, rate, channels, inputs, strict, carrier)
