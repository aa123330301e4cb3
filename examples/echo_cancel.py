"""An agent that does not hear itself: its own voice taken out of the microphone; asyncio, trio.

    python examples/echo_cancel.py [SECONDS]

The microphone is a loopback of the speaker, with the echoes of a small room added, so all that
it hears is the agent.  What the speaker plays (`speaker.monitor()`) goes through an adaptive
filter, which learns on the way how that sounds at the microphone; what is left when it is taken
away is what somebody else says.
"""

import math
import sys
from pathlib import Path

import anyio
import numpy as np

import audiostream
from audiostream import aio

SPEECH = Path(audiostream.__file__).parent / "data" / "speech.wav"
RATE = 16000
CHUNK = 320  # frames: 20 ms
TAPS = 256  # the filter's length, 16 ms: how long the way from speaker to microphone rings
EARLY = 32  # frames of it before the time that the clocks say
ROOM = np.zeros(160)  # 10 ms
ROOM[[0, 37, 81, 150]] = 0.5, -0.3, 0.2, 0.1


class Canceller:
    """Normalised least mean squares: Haykin, Adaptive Filter Theory, chapter on NLMS."""

    def __init__(self, taps: int = TAPS, step: float = 0.5) -> None:
        self.weights = np.zeros(taps)
        self.step = step

    def cancel(self, heard: np.ndarray, played: np.ndarray) -> np.ndarray:
        """What is left of `heard` (frames,) without what it has of `played` (taps - 1 more)."""
        left = np.empty(len(heard))
        taps = len(self.weights)
        for n in range(len(heard)):
            window = played[n : n + taps]
            left[n] = heard[n] - window @ self.weights
            self.weights += self.step * left[n] / (window @ window + 1e-3) * window
        return left


def samples(chunk: bytes) -> np.ndarray:
    return np.frombuffer(chunk, np.int16) / 32768


def decibels(power: float) -> float:
    return 10 * math.log10(power + 1e-12)


class Room:
    """What a microphone in a room hears of what a loopback hears."""

    def __init__(self) -> None:
        self.before = np.zeros(len(ROOM) - 1)

    def heard(self, chunk: bytes) -> np.ndarray:
        sound = np.concatenate((self.before, samples(chunk)))
        self.before = sound[len(sound) - len(self.before) :]
        return np.convolve(sound, ROOM, "valid")


async def main(seconds: float) -> None:
    async with (
        aio.get_output(
            rate=48000, channels=2, buffersize=256, device="loopback:room"
        ) as speaker,
        speaker.monitor(rate=RATE, channels=1, buffersize=CHUNK) as monitor,
        aio.get_input(rate=RATE, channels=1, buffersize=CHUNK, source="loopback:room") as mic,
        anyio.create_task_group() as tasks,
    ):
        agent = speaker.sample()
        speech = aio.sources.file(SPEECH, loop=True)
        tasks.start_soon(agent.write_from, speech)

        room, canceller = Room(), Canceller()
        played = samples(await monitor.read(CHUNK))
        heard = room.heard(await mic.read(CHUNK))
        # Both clocks are the speaker's.  Where in `played` the microphone's frame 0 is:
        start = round((mic.chunk_time - monitor.chunk_time) * RATE)
        played = np.concatenate((np.zeros(RATE), played))  # silence, before it begins
        start += RATE + EARLY - (TAPS - 1)
        second: list[tuple[float, float]] = []
        for number in range(1, int(seconds * RATE / CHUNK) + 1):
            while len(played) < start + CHUNK + TAPS - 1:
                played = np.concatenate((played, samples(await monitor.read(CHUNK))))
            left = canceller.cancel(heard, played[start : start + CHUNK + TAPS - 1])
            played = played[CHUNK:]  # the next chunk begins where this one did
            second.append((float(heard @ heard), float(left @ left)))
            if number % (RATE // CHUNK) == 0:
                echo, rest = (sum(column) / RATE for column in zip(*second, strict=True))
                second.clear()
                print(
                    f"{number * CHUNK // RATE:2d} s: echo {decibels(echo):.1f} dB, "
                    f"left {decibels(rest):.1f} dB, "
                    f"attenuated by {decibels(echo) - decibels(rest):.1f} dB; "
                    f"the speaker's peak: {speaker.level(0.5).peak_db:.0f} dB"
                )
            heard = room.heard(await mic.read(CHUNK))
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
