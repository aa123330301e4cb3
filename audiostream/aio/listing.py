"""What there is to play to and to record from, for coroutines; event loop."""

from __future__ import annotations

import anyio.to_thread

from audiostream.device import names

__all__ = ("get_input_sources", "get_output_devices")


async def get_input_sources() -> list[str]:
    """Return ``"default"``, then the names of what this machine can record from."""
    return await anyio.to_thread.run_sync(names.input_sources)


async def get_output_devices() -> list[str]:
    """Return ``"default"``, then the names of what this machine can play to."""
    return await anyio.to_thread.run_sync(names.output_devices)
