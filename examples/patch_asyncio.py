"""A Pure Data patch, played by one task, steered by a second, heard by a third.

    python examples/patch_asyncio.py [asyncio|trio [SECONDS_OF_A_NOTE]]

Needs a libpd: `pip install "audiostream[puredata]"`, or the system's.
"""

import sys
from pathlib import Path

import anyio

from audiostream import aio

NOTES = (57, 60, 64, 69)  # as MIDI counts them: 69 is 440 Hz


async def listen(hertz: aio.sources.Messages) -> None:
    async for message in hertz:  # ends when the patch is closed
        print(f"{message.atoms[0]:.2f} Hz")


async def heard(voice: aio.AudioSample, seconds: float) -> None:
    """Wait until so much more of it was heard, however late this program is."""
    end = voice.position + seconds * voice.rate
    while voice.position < end:
        await anyio.sleep(0.01)


async def main(seconds: float) -> None:
    async with (
        aio.get_output(rate=48000, channels=2, buffersize=256) as speaker,
        anyio.create_task_group() as tasks,
    ):
        voice = speaker.sample()
        with aio.sources.patch(Path(__file__).with_name("pitch.pd"), rate=48000) as patch:
            tasks.start_soon(listen, patch.messages("hertz"))
            tasks.start_soon(voice.write_from, patch)
            for note in NOTES:
                patch.send("note", note)
                await heard(voice, seconds)
            patch.send("quiet")  # a bang: the patch fades out
            await heard(voice, 0.3)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    anyio.run(
        main,
        float(arguments[1]) if len(arguments) > 1 else 0.8,
        backend=arguments[0] if arguments else "asyncio",
    )
