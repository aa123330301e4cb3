"""A voice agent that can be interrupted: the microphone up a WebSocket, speech down; asyncio.

    python examples/barge_in.py [URL]

Without a URL it talks to a small server of its own, which says something long and stops as
soon as it hears somebody (barge_in_server.py).  Needs `pip install websockets`.
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect

from audiostream import aio


async def converse(url: str) -> None:
    async with (
        connect(url) as server,
        aio.get_output(rate=48000, channels=2, buffersize=256) as speaker,
        aio.get_input(rate=16000, channels=1, buffersize=320) as mic,
    ):
        voice = speaker.sample(rate=24000, channels=1, buffer=60, prebuffer=0.15)
        speech = voice.utterance()

        async def listen() -> None:
            async for chunk in mic:  # 20 ms each
                await server.send(chunk)

        listening = asyncio.create_task(listen())
        async for message in server:
            if isinstance(message, bytes):
                speech.write_nowait(message)  # as fast as it comes; discarded once cut
                continue
            event = json.loads(message)
            if event["type"] == "speech":
                speech = voice.utterance(event["item"])
            elif event["type"] == "speech_done":
                speech.end()
            elif event["type"] == "speech_started":  # by the one in front of the microphone
                await voice.clear()  # silent within 5 ms, and no more to come
                heard = {"item": speech.tag, "heard_ms": round(1000 * speech.heard_seconds)}
                await server.send(json.dumps({"type": "interrupted", **heard}))
        listening.cancel()
        await voice.drain()


async def main() -> None:
    if len(sys.argv) > 1:
        await converse(sys.argv[1])
        return
    from barge_in_server import serving  # beside this file

    async with serving() as url:
        await converse(url)


if __name__ == "__main__":
    asyncio.run(main())
