"""Records the microphone into a WAV file, by callback and poll(); no event loop.

python examples/record_poll.py [PATH.wav [SECONDS]]
"""

import sys
import time
import wave

from audiostream import get_input


def main(path: str, seconds: float) -> None:
    buffers: list[bytes] = []
    # buffersize is left to the system; poll() calls the callback in this very thread.
    mic = get_input(callback=buffers.append, rate=16000, channels=1, encoding=16)
    wanted = round(seconds * mic.rate / mic.buffersize)
    mic.start()
    while len(buffers) < wanted:
        if not mic.poll():  # never blocks: do something else meanwhile
            time.sleep(0.01)
    mic.stop()
    mic.close()
    with wave.open(path, "wb") as file:
        file.setnchannels(mic.channels)
        file.setsampwidth(mic.encoding // 8)
        file.setframerate(mic.rate)
        file.writeframes(b"".join(buffers[:wanted]))
    print(f"{path}: {wanted * mic.buffersize / mic.rate:.2f} s")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(
        arguments[0] if arguments else "recording.wav",
        float(arguments[1]) if len(arguments) > 1 else 3.0,
    )
