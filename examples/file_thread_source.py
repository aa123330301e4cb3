"""Plays a sound file through a subclass of ThreadSource, which reads it in its own thread.

    python examples/file_thread_source.py [PATH]

Any file that soundfile reads (`pip install "audiostream[files]"`); without a path, the
recording of speech that comes with audiostream.
"""

import sys
import threading
from pathlib import Path

import soundfile

import audiostream
from audiostream import AudioOutput, get_output
from audiostream.sources.thread import ThreadSource

SPEECH = Path(audiostream.__file__).parent / "data" / "speech.wav"


class FileSource(ThreadSource):
    def __init__(self, stream: AudioOutput, file: soundfile.SoundFile) -> None:
        super().__init__(stream)
        self.file = file
        self.silence = bytes(16384)  # as much as the ring holds: it pushes the end out
        self.finished = threading.Event()

    def get_bytes(self) -> bytes:
        """The next buffer; called again and again, and it may take its time."""
        data = bytes(self.file.buffer_read(self.buffersize, dtype="int16"))
        if data:
            return data
        data, self.silence = self.silence, b""
        if not data:
            self.finished.set()
        return data  # empty: nothing to say now


def main(path: str | Path) -> None:
    with soundfile.SoundFile(path) as file:
        stream = get_output(rate=file.samplerate, channels=file.channels, buffersize=512)
        source = FileSource(stream, file)
        source.start()
        source.finished.wait()
        source.stop()
        source.join()  # it reads the file no more
        stream.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else SPEECH)
