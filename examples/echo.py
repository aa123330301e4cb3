"""The microphone, heard at once: one coroutine that runs on asyncio and on trio.

    python examples/echo.py [asyncio|trio]

Put headphones on: through loudspeakers it would hear itself.  Ctrl-C ends it, and so does
the end of a file that plays the microphone.
"""

import contextlib
import sys

import anyio

from audiostream import aio


async def main() -> None:
    async with (
        aio.get_output(rate=48000, channels=2) as speaker,
        aio.get_input(rate=16000, channels=1, buffersize=320) as mic,
    ):
        voice = speaker.sample(rate=16000, channels=1)  # converted on the way in
        async for chunk in mic:  # bytes, one buffer each
            await voice.write(chunk)  # waits while the ring is full
        await voice.drain()  # returns when the last frame was heard


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        anyio.run(main, backend=sys.argv[1] if len(sys.argv) > 1 else "asyncio")
