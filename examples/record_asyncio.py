"""Records the microphone into a WAV file with `async for`; asyncio.

    python examples/record_asyncio.py [PATH.wav [SECONDS]]

A file that plays the microphone may end earlier, and so does the recording.
"""

import asyncio
import sys
import wave

from audiostream import aio


async def main(path: str, seconds: float) -> None:
    with wave.open(path, "wb") as file:
        async with aio.get_input(rate=16000, channels=1, buffersize=320) as mic:
            file.setnchannels(mic.channels)
            file.setsampwidth(mic.encoding // 8)
            file.setframerate(mic.rate)
            wanted = round(seconds * mic.rate) * mic.channels * mic.encoding // 8  # bytes
            async for chunk in mic:
                # The disk may be slow: four seconds wait in the microphone's queue.
                file.writeframesraw(chunk[:wanted])
                wanted -= len(chunk)
                if wanted <= 0:
                    break
        print(f"{path}: {file.tell() / mic.rate:.2f} s, {mic.dropped} frames lost")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(
        main(
            arguments[0] if arguments else "recording.wav",
            float(arguments[1]) if len(arguments) > 1 else 3.0,
        )
    )
