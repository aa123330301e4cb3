"""A sine that glides two octaves up, by setting the frequency of a SineSource; no event loop.

python examples/sine_blocking.py [SECONDS]
"""

import sys
import time

from audiostream import get_output
from audiostream.sources.wave import SineSource


def main(seconds: float) -> None:
    stream = get_output(rate=44100, channels=1, buffersize=256)
    # The fewer frames it is ahead, the sooner a new frequency is heard, and the smaller are
    # the steps; the more, the longer this program may be late without a gap.
    sine = SineSource(stream, 220, ahead=2048)
    sine.start()  # it plays by itself from now on
    while (heard := sine.position / stream.rate) < seconds:
        sine.frequency = 220 * 4 ** (heard / seconds)
        time.sleep(0.005)
    sine.stop()
    stream.close()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 4.0)
