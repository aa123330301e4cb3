"""A scale by blocking writes, the way of the documented API; no event loop.

python examples/blocking_write.py [SECONDS_OF_A_NOTE]
"""

import math
import struct
import sys

from audiostream import AudioSample, get_output

RATE = 22050
SCALE = (262, 294, 330, 349, 392, 440, 494, 523)  # Hz


def note(hertz: float, seconds: float) -> bytes:
    """A note that dies away, as mono 16-bit PCM."""
    frames = round(seconds * RATE)
    wave = (
        round(9000 * (1 - i / frames) * math.sin(2 * math.pi * hertz * i / RATE))
        for i in range(frames)
    )
    return struct.pack(f"<{frames}h", *wave)


def main(seconds: float) -> None:
    stream = get_output(channels=1, rate=RATE, buffersize=1024)
    sample = AudioSample()
    stream.add_sample(sample)
    sample.play()
    for hertz in SCALE:
        sample.write(note(hertz, seconds))  # blocks while the sample's ring is full
    sample.drain()  # write() returns when all is on the ring; this, when it was heard
    stream.close()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 0.4)
