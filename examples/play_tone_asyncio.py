"""Two tones on two voices of one speaker, each written by a task of its own; asyncio.

python examples/play_tone_asyncio.py [SECONDS]
"""

import asyncio
import sys

import numpy as np

from audiostream import aio

RATE = 48000
BLOCK = 4800  # frames of one write: a tenth of a second


async def play_tone(voice: aio.AudioSample, hertz: float, seconds: float) -> None:
    frames = round(seconds * RATE)
    for start in range(0, frames, BLOCK):
        index = np.arange(start, min(start + BLOCK, frames))
        edge = np.minimum(index, frames - index).clip(max=480) / 480  # no click at the ends
        tone = 0.3 * edge * np.sin(2 * np.pi * hertz / RATE * index)
        await voice.write(tone.astype(np.float32))
    await voice.drain()


async def main(seconds: float) -> None:
    async with aio.get_output(rate=RATE, channels=2) as speaker:
        low, high = (speaker.sample(channels=1) for _ in range(2))
        await asyncio.gather(play_tone(low, 440, seconds), play_tone(high, 660, seconds))


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0))
