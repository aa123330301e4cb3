"""What the asyncio and trio tests share: event loops let run dry, time that is stepped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np

from audiostream import aio
from audiostream.testing import ManualDevice


async def settle(rounds: int = 8) -> None:
    """Let the event loop take signals that have come, and tasks act on them.

    A descriptor that is readable is seen by the next turn of the loop; the events that
    its reader sets wake tasks in the turn after.
    """
    for _ in range(rounds):
        await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def speaker_on(device: ManualDevice, **kwargs: Any) -> AsyncIterator[aio.AudioOutput]:
    """An output on a manual device."""
    kwargs.setdefault("rate", 48000)
    kwargs.setdefault("channels", 1)
    kwargs.setdefault("buffersize", 64)
    async with aio.get_output(device=device, **kwargs) as speaker:
        yield speaker


class Running:
    """A coroutine under way in a task of its own, to be looked at, or cancelled."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None

    async def run(self, function: Callable[[], Awaitable[Any]]) -> None:
        try:
            with self.scope:
                self.result = await function()
        except Exception as error:
            self.error = error
        finally:
            self.done = True


async def spawn(group: anyio.abc.TaskGroup, function: Callable[[], Awaitable[Any]]) -> Running:
    """Start a coroutine function and let it go as far as it can."""
    running = Running()
    group.start_soon(running.run, function)
    await settle()
    return running


def ramp(start: int, frames: int, channels: int = 1) -> np.ndarray:
    """int16 (frames, channels) of values that tell their place; never zero."""
    values = (np.arange(start, start + frames * channels) % 32767 + 1).astype(np.int16)
    return values.reshape(frames, channels)
