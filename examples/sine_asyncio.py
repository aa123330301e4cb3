"""A sine that glides two octaves up while a task of its own plays it; asyncio or trio.

python examples/sine_asyncio.py [asyncio|trio [SECONDS]]
"""

import sys
from functools import partial

import anyio

from audiostream import aio


async def main(seconds: float) -> None:
    sine = aio.sources.sine(220)
    async with (
        aio.get_output(rate=48000, channels=1, buffersize=256) as speaker,
        anyio.create_task_group() as tasks,
    ):
        voice = speaker.sample()
        # The fewer frames ahead, the sooner and the smoother a new frequency is heard.
        tasks.start_soon(partial(voice.write_from, sine, ahead=2048))
        while (heard := voice.position / voice.rate) < seconds:
            sine.frequency = 220 * 4 ** (heard / seconds)
            await anyio.sleep(0.005)
        tasks.cancel_scope.cancel()  # a sine has no end of its own


if __name__ == "__main__":
    arguments = sys.argv[1:]
    anyio.run(
        main,
        float(arguments[1]) if len(arguments) > 1 else 4.0,
        backend=arguments[0] if arguments else "asyncio",
    )
