"""Plays a sound file: a ready-made source, converted to the rate of the speaker; asyncio.

    python examples/file_asyncio.py [PATH]

Any file that soundfile reads (`pip install "audiostream[files]"`); without a path, the
recording of speech that comes with audiostream.
"""

import asyncio
import sys
from pathlib import Path

import audiostream
from audiostream import aio

SPEECH = Path(audiostream.__file__).parent / "data" / "speech.wav"


async def main(path: str | Path) -> None:
    file = aio.sources.file(path)  # loop=True, start=1.5 and file.seek() are there, too
    async with aio.get_output(rate=48000, channels=2) as speaker:
        voice = speaker.sample()
        await voice.write_from(file)  # reads it piece by piece, until its end
        await voice.drain()  # returns when the last frame was heard


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else SPEECH))
