"""A Pure Data patch, steered while it plays; no event loop.

    python examples/patch_blocking.py [SECONDS_OF_A_NOTE]

Needs a libpd: `pip install "audiostream[puredata]"`, or the system's.
"""

import sys
import time
from pathlib import Path

from audiostream import get_output
from audiostream.sources.puredata import PatchSource

NOTES = (57, 60, 64, 69)  # as MIDI counts them: 69 is 440 Hz


def wait(patch: PatchSource, seconds: float) -> None:
    """Until so much more of it was heard, however late this program is."""
    end = patch.position + seconds * patch.rate
    while patch.position < end:
        time.sleep(0.01)


def main(seconds: float) -> None:
    stream = get_output(rate=44100, channels=2, buffersize=512)
    patch = PatchSource(stream, Path(__file__).with_name("pitch.pd"))
    hertz = patch.messages("hertz")  # what the patch sends to that name
    patch.start()
    for note in NOTES:
        patch.send("note", note)
        message = hertz.get()
        if message is not None:
            print(f"note {note}: {message.atoms[0]:.2f} Hz")
        wait(patch, seconds)
    patch.send("quiet")  # a bang: the patch fades out
    wait(patch, 0.3)
    patch.close()
    stream.close()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 0.8)
