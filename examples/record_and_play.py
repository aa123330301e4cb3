"""Records the microphone, plays it, and writes it to a file: three lines; no event loop.

    python examples/record_and_play.py [PATH [SECONDS]]

The file may be WAV, FLAC, OGG or any other that soundfile writes (`audiostream[files]`).
"""

import sys

import audiostream


def main(path: str, seconds: float) -> None:
    frames = audiostream.record_to(path, seconds=seconds)  # until Ctrl-C without seconds=
    print(f"{path}: {frames} frames")
    audiostream.play(path)  # returns when the last frame was heard
    take = audiostream.record(seconds, rate=16000)  # an array, float32 (frames, channels)
    audiostream.play(take[::-1], 16000)  # backwards


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(
        arguments[0] if arguments else "recording.flac",
        float(arguments[1]) if len(arguments) > 1 else 3.0,
    )
