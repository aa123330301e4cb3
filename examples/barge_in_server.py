"""The other side of barge_in.py: says something long, and stops when somebody else speaks.

It stands for the server of a speech model: it sends speech (24 kHz, 16 bits, mono) faster than
real time, listens to what the microphone hears (16 kHz), says "speech_started" as soon as that
is loud, is told how much of its speech was heard, and says a few words more.
"""

import asyncio
import contextlib
import json
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
from websockets.asyncio.server import ServerConnection, serve

import audiostream

SPEECH = Path(audiostream.__file__).parent / "data" / "speech.wav"  # 16 kHz
LOUD = 1000
"""Root mean square of a chunk (int16) that is taken for speech."""


def spoken(seconds: float) -> Iterator[bytes]:
    """The recording at 24 kHz, over and over, in chunks of 100 ms."""
    with wave.open(str(SPEECH)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    places = np.arange(0, len(samples) - 1, 16000 / 24000)
    faster = np.interp(places, np.arange(len(samples)), samples).astype("<i2")
    whole = np.resize(faster, int(seconds * 24000)) | 1  # never quite silent
    for start in range(0, len(whole), 2400):
        yield whole[start : start + 2400].tobytes()


async def say(client: ServerConnection, item: str, seconds: float) -> None:
    await client.send(json.dumps({"type": "speech", "item": item}))
    for chunk in spoken(seconds):
        await client.send(chunk)
    await client.send(json.dumps({"type": "speech_done", "item": item}))


async def talk(client: ServerConnection) -> None:
    """One conversation."""
    await say(client, "long", 10.0)
    told = False
    async for message in client:
        if isinstance(message, bytes):
            chunk = np.frombuffer(message, "<i2").astype(float)
            if not told and np.sqrt(np.mean(chunk**2)) > LOUD:
                told = True
                await client.send(json.dumps({"type": "speech_started"}))
        else:
            event = json.loads(message)
            print(f"{event['item']!r} was heard for {event['heard_ms']} ms")
            await asyncio.sleep(0.1)  # takes breath
            await say(client, "short", 0.5)
            break


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """Serve on this machine; its address."""
    async with serve(talk, "127.0.0.1", 0) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        yield f"ws://{host}:{port}"
