"""``null``, ``file:`` and ``loopback:``, in real time but not for long."""

from __future__ import annotations

import ctypes
import fcntl
import os
import subprocess
import sys
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiostream import AudioInput, AudioOutput
from audiostream.device import virtual, wav, wavfile
from audiostream.errors import DeviceError, FormatError, NoDeviceError
from audiostream.pcm import ENCODINGS
from tests.compat.support import (
    LIMIT,
    added,
    collector,
    eventually,
    measure,
    noise,
    ramp,
    sine,
    sounding,
    voice_of,
)

ROOT = Path(__file__).resolve().parent.parent.parent

RATE = 192_000
"""Real time passes four times as quickly as at 48 kHz."""

Speaker = Callable[..., AudioOutput]
Microphone = Callable[..., AudioInput]


@pytest.fixture(params=["native", "python"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Both callback paths; what went through Python is noted, and is checked behind."""
    through: list[object] = []
    real = virtual.through_python

    def note(callback: Any, *args: Any) -> Any:
        through.append(callback)
        return real(callback, *args)

    monkeypatch.setattr(virtual, "through_python", note)
    monkeypatch.setenv("AUDIOSTREAM_CALLBACK", str(request.param))
    return through


@pytest.fixture
def streams() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def speaker(streams: ExitStack) -> Speaker:
    def open_output(device: str, **options: Any) -> AudioOutput:
        options = {"rate": RATE, "channels": 1, "buffersize": 256, **options}
        return streams.enter_context(AudioOutput(device=device, **options))

    return open_output


@pytest.fixture
def microphone(streams: ExitStack) -> Microphone:
    def open_input(source: str, **options: Any) -> AudioInput:
        options = {"rate": RATE, "buffersize": 256, **options}
        return streams.enter_context(AudioInput(None, source, **options))

    return open_input


def play(output: AudioOutput, data: np.ndarray) -> None:
    """Play what fits on a ring, gapless, and wait until it is heard."""
    sample = added(output, play=False)
    voice = voice_of(output)
    sample.write(data.tobytes())
    sample.play()
    eventually(lambda: voice.counts().position == len(data))
    output.remove_sample(sample)


def heard_frames(input: AudioInput, chunks: list[bytes]) -> np.ndarray:
    raw = b"".join(chunks)
    return np.frombuffer(raw, ENCODINGS[input.encoding]).reshape(-1, input.channels)


def listen_to_the_end(input: AudioInput) -> list[bytes]:
    """Poll an input until its source has ended and nothing is left."""
    chunks = collector(input)
    eventually(input.engine.has_ended)
    while input.poll():
        pass
    return chunks


# ----------------------------------------------------------------------------------- null


def test_null_is_a_silent_speaker_and_microphone_in_real_time(
    speaker: Speaker, microphone: Microphone, path: list[object]
) -> None:
    output = speaker("null", rate=48000, channels=2)
    input = microphone("null", rate=48000, channels=2)
    chunks = collector(input)
    started = output.time
    frames = output.stats.frames
    eventually(lambda: output.stats.frames - frames >= 4800)
    elapsed = output.time - started
    assert elapsed >= 0.08  # 4800 frames at 48 kHz are 0.1 s, less a block
    eventually(input.poll)
    assert set(b"".join(chunks)) == {0}
    assert {len(chunk) for chunk in chunks} == {4 * 256}
    assert (output.device_rate, output.device_channels) == (48000, 2)
    assert len(path) == (2 if os.environ["AUDIOSTREAM_CALLBACK"] == "python" else 0)


def test_null_consumes_what_is_played(speaker: Speaker) -> None:
    output = speaker("null", rate=48000)
    play(output, ramp(4800))
    assert output.stats.underruns == 0


def test_null_sizes_a_buffer_of_about_10_ms(speaker: Speaker, microphone: Microphone) -> None:
    for rate, frames in ((48000, 512), (44100, 512), (8000, 64), (16000, 128)):
        assert speaker("null", rate=rate, buffersize=0).buffersize == frames
        assert microphone("null", rate=rate, buffersize=-1).buffersize == frames


def test_a_stopped_input_hears_nothing_and_starts_again(microphone: Microphone) -> None:
    input = microphone("null")
    for _ in range(3):
        before = input.stats.frames
        eventually(lambda: input.stats.frames > before)  # noqa: B023  # not after the loop
        input.stop()
        stopped = input.stats.frames
        input.stop()
        assert input.stats.frames == stopped
        input.start()
        input.start()


# --------------------------------------------------------------------------- file: speakers


def read_wav(path: Path) -> np.ndarray:
    """The frames of a file as soundfile and, for integers, the standard library find them;
    its sizes are those of the file."""
    raw = path.read_bytes()
    assert raw[:4] == b"RIFF"
    assert int.from_bytes(raw[4:8], "little") == len(raw) - 8
    start = raw.index(b"data") + 8
    assert int.from_bytes(raw[start - 4 : start], "little") == len(raw) - start
    with soundfile.SoundFile(path) as file:
        whole = file.subtype == "PCM_16"
        frames = file.read(dtype="int16" if whole else "float32", always_2d=True)
        rate = file.samplerate
    if whole:
        with wave.open(str(path)) as reader:
            assert reader.getframerate() == rate
            assert reader.getsampwidth() == 2
            assert reader.getnframes() == len(frames)
            assert reader.readframes(reader.getnframes()) == frames.tobytes()
    return np.asarray(frames)


@pytest.mark.parametrize(
    ("encoding", "channels"), [(16, 1), (16, 2), (32, 1), (32, 2), (8, 1), (8, 3)]
)
def test_a_file_holds_what_was_played(
    speaker: Speaker, tmp_path: Path, encoding: int, channels: int, path: list[object]
) -> None:
    output = speaker(f"file:{tmp_path}/a b.wav", encoding=encoding, channels=channels)
    data = noise(1001, channels, encoding)
    play(output, data)
    output.close()
    frames = read_wav(tmp_path / "a b.wav")
    assert frames.dtype == (np.float32 if encoding == 32 else np.int16)
    expected = data.astype(np.int16) * 256 if encoding == 8 else data
    np.testing.assert_array_equal(sounding(frames), expected)
    assert bool(path) == (os.environ["AUDIOSTREAM_CALLBACK"] == "python")
    info = soundfile.info(tmp_path / "a b.wav")
    assert (info.samplerate, info.channels) == (RATE, channels)
    assert info.subtype == ("FLOAT" if encoding == 32 else "PCM_16")


def test_a_file_without_a_frame_is_a_file(tmp_path: Path) -> None:
    output = AudioOutput(device=f"file:{tmp_path}/empty.wav")
    output.engine.open()  # never started
    output.close()
    assert read_wav(tmp_path / "empty.wav").shape == (0, 2)


def test_a_file_is_written_anew_and_can_be_played_afterwards(
    speaker: Speaker, microphone: Microphone, tmp_path: Path
) -> None:
    name = f"file:{tmp_path}/again.wav"
    (tmp_path / "again.wav").write_bytes(b"x" * 1_000_000)
    output = speaker(name)
    play(output, ramp(500))
    output.close()
    input = microphone(name)
    frames = heard_frames(input, listen_to_the_end(input))
    np.testing.assert_array_equal(sounding(frames), ramp(500))


@pytest.mark.parametrize("name", ["music.mp3", "music", "wav"])
def test_only_wav_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(DeviceError, match=rf"only WAV.*try file:.*{name}\.wav"):
        AudioOutput(device=f"file:{tmp_path}/{name}").open_blocking()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"(?s)cannot write.*missing.*a\.wav.*folder exists"):
        AudioOutput(device=f"file:{tmp_path}/missing/a.wav").open_blocking()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    (tmp_path / "full.wav").symlink_to("/dev/full")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(DeviceError, match=r"(?s)full\.wav.*room"):
        AudioOutput(device=f"file:{tmp_path}/full.wav").open_blocking()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


FULL = """
import resource, time
import numpy as np
from audiostream import AudioOutput
from audiostream.errors import DeviceError

output = AudioOutput(192000, 1, 16, 256, device="file:full.wav").open_blocking()
resource.setrlimit(resource.RLIMIT_FSIZE, (10_001, resource.RLIM_INFINITY))
end = time.monotonic() + 20
while time.monotonic() < end:
    try:
        output.engine.check()
    except DeviceError as error:
        print("use:", "close this output" in str(error))
        break
    time.sleep(0.001)
try:
    output.close()
except DeviceError as error:
    print("close:", "room" in str(error))
print(output.is_closed)
output.close()
# What measures the coverage writes its own file at the end.
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@pytest.mark.skipif(os.name != "posix", reason="limits on file sizes")
def test_a_disk_that_becomes_full_is_told_and_the_file_holds_the_rest(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == "use: True\nclose: True\nTrue\n"
    raw = (tmp_path / "full.wav").read_bytes()
    told = int.from_bytes(raw[76:80], "little")
    assert told <= len(raw) - 80
    assert told >= len(raw) - 80 - 2 * 256  # all but the block that did not fit
    with wave.open(str(tmp_path / "full.wav")) as reader:
        assert reader.getnframes() == told // 2


KILLED = """
import os, signal, sys
import numpy as np
from audiostream import AudioOutput
from audiostream.device import wavfile

wavfile.REFRESH = 0.01
output = AudioOutput(48000, 1, 16, 256, device="file:killed.wav").open_blocking()
voice = output.sample(buffer=1)
voice.write_nowait(np.arange(1, 20001, dtype=np.int16))
enough = 2 * output.stats.frames + 4000
with open("killed.wav", "rb") as file:
    told = 0xFFFFFFFF
    while not enough < told < 0xFFFFFFFF:  # some blocks were written, and then the header
        told = int.from_bytes(os.pread(file.fileno(), 4, 76), "little")
print("told", flush=True)
if sys.argv[1] == "exit":
    os._exit(0)
os.kill(os.getpid(), getattr(signal, sys.argv[1]))
"""


@pytest.mark.parametrize("end", ["exit", "SIGTERM", "SIGKILL"])
def test_a_process_that_is_killed_leaves_a_file_that_can_be_read(
    tmp_path: Path, end: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", KILLED, end],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.stdout, done.stderr) == ("told\n", "")
    frames, rate = soundfile.read(tmp_path / "killed.wav", dtype="int16")
    assert rate == 48000
    got = frames[np.argmax(frames > 0) :]
    assert len(got) > 1000
    np.testing.assert_array_equal(got, np.arange(1, len(got) + 1))
    with wave.open(str(tmp_path / "killed.wav")) as reader:
        assert reader.readframes(reader.getnframes()) == frames.tobytes()


def test_a_file_can_be_read_before_its_header_tells_how_long_it_is(
    speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wavfile, "REFRESH", LIMIT)
    output = speaker(f"file:{tmp_path}/a.wav")
    play(output, ramp(500))
    raw = (tmp_path / "a.wav").read_bytes()
    assert raw[4:8] == raw[76:80] == b"\xff" * 4
    np.testing.assert_array_equal(
        sounding(soundfile.read(tmp_path / "a.wav", dtype="int16", always_2d=True)[0]),
        ramp(500),
    )
    with wave.open(str(tmp_path / "a.wav")) as reader:
        frames = np.frombuffer(reader.readframes(reader.getnframes()), np.int16)
    np.testing.assert_array_equal(sounding(frames[:, None]), ramp(500))
    output.close()
    np.testing.assert_array_equal(sounding(read_wav(tmp_path / "a.wav")), ramp(500))


def test_a_header_that_cannot_be_refreshed_is_tried_again(
    speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []
    write_header = wavfile.WavFile.write_header

    def refuse_some(self: wavfile.WavFile, data_bytes: int | None) -> None:
        asked.append(data_bytes)
        if 1 < len(asked) < 5:
            raise OSError(5, "Input/output error")
        write_header(self, data_bytes)

    monkeypatch.setattr(wavfile.WavFile, "write_header", refuse_some)
    monkeypatch.setattr(wavfile, "REFRESH", 0.001)
    output = speaker(f"file:{tmp_path}/a.wav")
    eventually(lambda: len(asked) > 6)
    output.close()
    assert len(read_wav(tmp_path / "a.wav")) == output.stats.frames


def test_a_file_that_cannot_be_completed_is_a_device_error(
    speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    output = speaker(f"file:{tmp_path}/a.wav")
    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(DeviceError, match=r"a\.wav.*could not be completed.*Input/output"):
        output.close()
    monkeypatch.undo()
    assert output.is_closed
    speaker(f"file:{tmp_path}/a.wav")  # it is free again


def test_a_file_of_more_than_4_gib_is_rf64(speaker: Speaker, tmp_path: Path) -> None:
    output = speaker(f"file:{tmp_path}/long.wav", encoding=32)
    stream = output.engine._stream()
    assert isinstance(stream, virtual.VirtualStream)
    skipped = 5 << 30
    with stream._clock._halted() as record:  # as if nine hours had been played; sparse
        os.lseek(record["sink"], skipped, os.SEEK_CUR)
        record["sink_bytes"] += skipped
    data = noise(1000, 1, 32)
    play(output, data)
    output.close()
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path) as file:
        assert file.format == "RF64"
        assert file.frames == skipped // 4 + output.stats.frames
        assert path.stat().st_size == 94 + 4 * file.frames
        file.seek(skipped // 4)
        frames = file.read(dtype="float32", always_2d=True)
    np.testing.assert_array_equal(sounding(frames), data)


@pytest.mark.parametrize("name", ["one.wav", "sym.wav", "hard.wav", "folder/../one.wav"])
def test_one_file_has_one_output_by_any_of_its_names(
    speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(wavfile, "PATIENCE", 0.0)
    (tmp_path / "folder").mkdir()
    first = speaker(f"file:{tmp_path}/one.wav")
    (tmp_path / "sym.wav").symlink_to("one.wav")
    (tmp_path / "hard.wav").hardlink_to(tmp_path / "one.wav")
    monkeypatch.chdir(tmp_path)
    play(first, ramp(500))
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"written by another output of this program"):
            AudioOutput(RATE, 1, device=f"file:{name}").open_blocking()
    with pytest.raises(DeviceError, match=r"written by an output of this program.*monitor"):
        AudioInput(None, f"file:{name}").open_blocking()
    first.close()
    np.testing.assert_array_equal(sounding(read_wav(tmp_path / "one.wav")), ramp(500))
    speaker(f"file:{name}").close()
    AudioInput(None, f"file:{name}").open_blocking().close()
    assert not wavfile.OPEN_FILES._open


def test_an_output_that_is_closing_is_waited_for(
    speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wavfile, "PATIENCE", LIMIT)
    first = speaker(f"file:{tmp_path}/a.wav")
    opening = threading.Thread(target=speaker, args=(f"file:{tmp_path}/a.wav",))
    opening.start()
    first.close()
    opening.join(LIMIT)
    assert not opening.is_alive()
    assert len(wavfile.OPEN_FILES._open) == 1


HOLDS = """
import sys
from audiostream import AudioOutput

with AudioOutput(48000, 1, device="file:one.wav"):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_an_output_of_another_process_keeps_its_file(
    speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wavfile, "PATIENCE", 0.0)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(DeviceError, match="written by an output of another program"):
            AudioOutput(RATE, 1, device=f"file:{tmp_path}/one.wav").open_blocking()
        assert not wavfile.OPEN_FILES._open
        assert (tmp_path / "one.wav").stat().st_size >= 80  # and was not cut
        other.communicate(timeout=LIMIT)
    speaker(f"file:{tmp_path}/one.wav")


def test_a_file_system_without_locks_will_do(
    speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(wavfile, "PATIENCE", 0.0)
    first = speaker(f"file:{tmp_path}/a.wav")
    with pytest.raises(DeviceError, match="another output of this program"):
        AudioOutput(RATE, 1, device=f"file:{tmp_path}/a.wav").open_blocking()
    play(first, ramp(100))
    first.close()
    np.testing.assert_array_equal(sounding(read_wav(tmp_path / "a.wav")), ramp(100))


def test_an_output_that_fails_to_open_lets_go_of_its_file(
    speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(virtual, "Clock", refuse)
        with pytest.raises(MemoryError):
            AudioOutput(device=f"file:{tmp_path}/a.wav").open_blocking()
    assert not wavfile.OPEN_FILES._open
    speaker(f"file:{tmp_path}/a.wav")


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "a.wav"
    os.mkfifo(fifo)
    with pytest.raises(DeviceError, match=r"cannot write.*a\.wav"):
        AudioOutput(device=f"file:{fifo}").open_blocking()
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(DeviceError, match=r"cannot write.*a\.wav.*ordinary file"):
        AudioOutput(device=f"file:{fifo}").open_blocking()
    os.close(reader)
    assert not wavfile.OPEN_FILES._open


@pytest.mark.parametrize("name", [b"caf\xe9.wav", "süß \n.wav".encode(), b"-\xff\xfe.wav"])
def test_names_of_any_bytes_are_written_and_heard(
    speaker: Speaker, microphone: Microphone, tmp_path: Path, name: bytes
) -> None:
    device = f"file:{tmp_path}/{os.fsdecode(name)}"
    output = speaker(device)
    play(output, ramp(500))
    output.close()
    assert os.listdir(os.fsencode(tmp_path)) == [name]  # noqa: PTH208  # as bytes
    input = microphone(device)
    frames = heard_frames(input, listen_to_the_end(input))
    np.testing.assert_array_equal(sounding(frames), ramp(500))


@pytest.mark.parametrize("name", ["a\0b.wav", "\ud800.wav"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="device="):
        AudioOutput(device=f"file:{name}")
    with pytest.raises(FormatError, match="source="):
        AudioInput(None, f"file:{name}")


def test_a_home_folder_that_is_not_there_is_a_device_error() -> None:
    name = "file:~no-user-of-that-name/a.wav"
    with pytest.raises(DeviceError, match="home folder"):
        AudioOutput(device=name).open_blocking()
    with pytest.raises(NoDeviceError, match="home folder"):
        AudioInput(None, name).open_blocking()


# ------------------------------------------------------------------------ file: microphones


@pytest.mark.parametrize(
    ("suffix", "subtype", "encoding"),
    [
        ("wav", "PCM_16", 16),
        ("wav", "FLOAT", 32),
        ("wav", "PCM_24", 32),
        ("wav", "PCM_U8", 8),
        ("flac", "PCM_16", 16),
        ("flac", "PCM_24", 32),
        ("ogg", "VORBIS", 32),
        ("aiff", "PCM_S8", 8),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_is_heard_once_and_ends(
    microphone: Microphone,
    tmp_path: Path,
    suffix: str,
    subtype: str,
    encoding: int,
    channels: int,
) -> None:
    name = tmp_path / f"recording.{suffix}"
    soundfile.write(name, noise(1000, channels, 16) / 65536, 48000, subtype)
    input = microphone(f"file:{name}", rate=48000, channels=channels, encoding=encoding)
    chunks = listen_to_the_end(input)
    assert input.poll() is False
    width = channels * encoding // 8
    assert [len(chunk) // width for chunk in chunks] == [256, 256, 256, 232]
    expected, _ = soundfile.read(name, dtype="float32", always_2d=True)
    scale = np.float32({8: 128, 16: 32768, 32: 1}[encoding])
    np.testing.assert_array_equal(heard_frames(input, chunks) / scale, expected)


def test_a_file_is_heard_in_real_time(microphone: Microphone, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", ramp(4800), 48000)
    input = microphone(f"file:{tmp_path}/a.wav", rate=48000)
    started = input.time
    eventually(input.engine.has_ended)
    assert input.time - started >= 0.08


def test_a_file_of_another_rate_is_converted(microphone: Microphone, tmp_path: Path) -> None:
    tone = sine(1000, 44100, 4410)
    soundfile.write(tmp_path / "a.wav", np.stack((tone, tone), axis=1), 44100)
    input = microphone(f"file:{tmp_path}/a.wav", rate=16000, encoding=32, buffersize=160)
    assert (input.device_rate, input.device_channels) == (44100, 2)
    frames = heard_frames(input, listen_to_the_end(input))
    assert len(frames) == pytest.approx(1600, abs=1)
    frequency, amplitude = measure(frames[160:1440, 0], 16000)
    assert frequency == pytest.approx(1000, abs=1)
    assert amplitude == pytest.approx(0.5, rel=0.01)


def test_an_empty_recording_ends_at_once(microphone: Microphone, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 1), np.int16), 48000)
    assert listen_to_the_end(microphone(f"file:{tmp_path}/a.wav")) == []


def test_a_recording_stands_still_while_it_is_stopped(
    microphone: Microphone, tmp_path: Path
) -> None:
    data = noise(9600, 1, 16)
    soundfile.write(tmp_path / "a.wav", data, 48000)
    input = microphone(f"file:{tmp_path}/a.wav", rate=48000)
    for _ in range(3):
        before = input.stats.frames
        eventually(lambda: input.stats.frames > before)  # noqa: B023  # not after the loop
        input.stop()
        input.start()
    np.testing.assert_array_equal(heard_frames(input, listen_to_the_end(input)), data)
    input.stop()
    input.start()  # it has ended: there is nothing more to come
    assert input.poll() is False


def test_a_recording_that_is_missing_is_named(tmp_path: Path) -> None:
    for name in ("missing.wav", ""):
        with pytest.raises(NoDeviceError, match=rf"(?s)no file.*{tmp_path}.*try"):
            AudioInput(None, f"file:{tmp_path}/{name}").open_blocking()


@pytest.mark.parametrize("content", [b"", b"This is a text about audio.", b"RIFF\0\0\0\0WAVE"])
def test_what_is_no_audio_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DeviceError, match=r"a\.wav.*cannot be read as a sound file"):
        AudioInput(None, f"file:{tmp_path}/a.wav").open_blocking()


@pytest.mark.parametrize("rate", [1, 999, 1_500_007])
def test_a_recording_whose_rate_no_sound_has(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, ramp(100), 48000)
    data = bytearray(path.read_bytes())
    data[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(FormatError, match=f"{rate} Hz"):
        AudioInput(None, f"file:{path}").open_blocking()


def test_a_recording_that_is_cut_is_heard_to_there(
    microphone: Microphone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.flac"
    data = noise(4800, 1, 16)
    soundfile.write(path, data, 48000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 8])
    with pytest.raises(DeviceError, match=r"a\.flac.*from 0 seconds on"):
        AudioInput(None, f"file:{path}").open_blocking()
    data = noise(48000, 1, 16)
    soundfile.write(path, data, 48000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    input = microphone(f"file:{path}", rate=48000)
    frames = heard_frames(input, listen_to_the_end(input))
    assert 16000 < len(frames) < 24000
    np.testing.assert_array_equal(frames, data[: len(frames)])
    assert "what came before is played" in caplog.text


def test_a_recording_whose_writer_was_killed(
    microphone: Microphone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.wav"
    data = noise(4800, 1, 16)
    soundfile.write(path, data, 48000)
    changed = bytearray(path.read_bytes())
    changed[40:44] = bytes(4)
    path.write_bytes(changed)
    input = microphone(f"file:{path}", rate=48000)
    np.testing.assert_array_equal(heard_frames(input, listen_to_the_end(input)), data)
    assert "claims 0 bytes" in caplog.text


def test_a_file_that_may_not_be_read_is_an_audio_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")

    def refuse(*_: object, **__: object) -> None:
        raise soundfile.LibsndfileError(2, "Error opening: ")

    monkeypatch.setattr(soundfile, "SoundFile", refuse)
    with pytest.raises(DeviceError, match=r"a\.wav"):
        AudioInput(None, f"file:{tmp_path}/a.wav").open_blocking()


def test_reading_without_soundfile_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", ramp(10), 48000)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(DeviceError, match=r"audiostream\[files\]"):
        AudioInput(None, f"file:{tmp_path}/a.wav").open_blocking()


# ------------------------------------------------------------------------------- loopback:


@pytest.mark.parametrize("encoding", [8, 16, 32])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_loopback_hears_bit_for_bit(
    speaker: Speaker, microphone: Microphone, encoding: int, channels: int, path: list[object]
) -> None:
    options = {"encoding": encoding, "channels": channels}
    input = microphone("loopback:bits", **options)
    output = speaker("loopback:bits", **options)
    data = noise(1001, channels, encoding)
    play(output, data)
    eventually(lambda: input.engine.buffers_queued() >= 1001 // 256 + 1)
    output.close()
    input.stop()
    chunks = collector(input)
    input.poll()
    np.testing.assert_array_equal(sounding(heard_frames(input, chunks)), data)
    assert len(path) == (2 if os.environ["AUDIOSTREAM_CALLBACK"] == "python" else 0)


@pytest.mark.parametrize("first", ["input", "output"])
def test_either_side_of_a_loopback_may_come_first(
    speaker: Speaker, microphone: Microphone, first: str
) -> None:
    if first == "input":
        input = microphone("loopback:order", rate=48000)
        output = speaker("loopback:order", rate=48000)
    else:
        output = speaker("loopback:order", rate=48000)
        input = microphone("loopback:order", rate=48000)
    play(output, ramp(1000))
    input.stop()
    chunks = collector(input)
    input.poll()
    got = sounding(heard_frames(input, chunks))
    assert len(got) >= 1000 - 255  # the last of it waits for its buffer to be full
    np.testing.assert_array_equal(got, ramp(1000)[: len(got)])


def test_a_loopback_is_silent_without_an_output_and_around_it(
    speaker: Speaker, microphone: Microphone
) -> None:
    input = microphone("loopback:quiet")
    chunks = collector(input)
    eventually(lambda: input.poll() and len(chunks) > 3)
    output = speaker("loopback:quiet")
    eventually(lambda: output.stats.callbacks > 2)
    count = len(chunks)
    eventually(lambda: input.poll() and len(chunks) > count + 3)
    output.close()
    count = len(chunks)
    eventually(lambda: input.poll() and len(chunks) > count + 3)
    assert set(b"".join(chunks)) == {0}


def test_a_loopback_has_any_number_of_inputs(speaker: Speaker, microphone: Microphone) -> None:
    inputs = [microphone("loopback:many", channels=n) for n in (1, 1, 2)]
    output = speaker("loopback:many")
    late = microphone("loopback:many")
    late.close()
    play(output, ramp(600))
    for input in inputs:
        input.stop()
        chunks = collector(input)
        input.poll()
        got = sounding(heard_frames(input, chunks))
        assert len(got) >= 600 - 255
        expected = np.repeat(ramp(600), input.channels, axis=1)
        np.testing.assert_array_equal(got, expected[: len(got)])


def test_inputs_of_a_loopback_that_start_at_once_all_hear_it(streams: ExitStack) -> None:
    inputs = [AudioInput(None, "loopback:crowd", RATE, buffersize=256) for _ in range(12)]
    for input in inputs:
        streams.enter_context(input.open_blocking())
        input.stop()
    together = threading.Barrier(len(inputs))

    def start(input: AudioInput) -> None:
        together.wait(LIMIT)
        input.start()

    threads = [threading.Thread(target=start, args=[input]) for input in inputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    before = [input.stats.frames for input in inputs]
    eventually(lambda: inputs[0].stats.frames > before[0] + 100 * 256 or deaf(inputs, before))
    assert not [i for i, input in enumerate(inputs) if input.stats.frames == before[i]]


def deaf(inputs: list[AudioInput], before: list[int]) -> bool:
    """True once one of them is far ahead of where another still stands."""
    moved = [input.stats.frames - start for input, start in zip(inputs, before, strict=True)]
    return max(moved) > 100 * 256


def test_a_loopback_has_one_output(speaker: Speaker) -> None:
    output = speaker("loopback:one")
    with pytest.raises(
        DeviceError, match=r'"loopback:one" already has an output.*another name'
    ):
        AudioOutput(device="loopback:one").open_blocking()
    play(output, ramp(200))
    output.close()
    speaker("loopback:one")


def test_a_loopback_has_so_many_inputs_and_no_more(
    microphone: Microphone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual, "MAX_INPUTS", 2)
    first = microphone("loopback:few")
    microphone("loopback:few")
    with pytest.raises(DeviceError, match="already has 2 inputs"):
        AudioInput(None, "loopback:few").open_blocking()
    first.close()
    microphone("loopback:few")


def test_a_name_is_free_again_once_everything_on_it_is_closed(
    speaker: Speaker, microphone: Microphone
) -> None:
    for rate in (48000, 96000):  # the first one decides the rate
        output = speaker("loopback:again", rate=rate)
        input = microphone("loopback:again", rate=16000)
        assert (output.device_rate, input.device_rate) == (rate, rate)
        output.close()
        input.close()
    assert virtual.HUBS._hubs == {}


def test_names_are_different_devices(speaker: Speaker, microphone: Microphone) -> None:
    here, there = microphone("loopback:here"), microphone("loopback:there")
    play(speaker("loopback:here"), ramp(1000))
    eventually(lambda: there.stats.frames > 2000)
    heard_here, heard_there = collector(here), collector(there)
    here.poll()
    there.poll()
    assert any(b"".join(heard_here))
    assert not any(b"".join(heard_there))


def test_the_second_of_a_loopback_is_converted(
    speaker: Speaker, microphone: Microphone
) -> None:
    output = speaker("loopback:rates", rate=48000, channels=2)
    input = microphone("loopback:rates", rate=16000, channels=1, encoding=32, buffersize=160)
    assert (input.device_rate, input.device_channels) == (48000, 2)
    tone = np.rint(sine(1000, 48000, 4000) * 32767).astype(np.int16)
    play(output, np.stack((tone, tone), axis=1))
    eventually(lambda: input.engine.buffers_queued() >= 10)
    chunks = collector(input)
    input.poll()
    signal = heard_frames(input, chunks)[:, 0]
    (where,) = np.nonzero(abs(signal) > 0.4)
    frequency, amplitude = measure(signal[where[0] + 80 : where[0] + 80 + 800], 16000)
    assert frequency == pytest.approx(1000, abs=2)
    assert amplitude == pytest.approx(0.5, rel=0.02)


# -------------------------------------------------------------------------- the environment


def test_variables_stand_in_for_the_default(
    monkeypatch: pytest.MonkeyPatch, speaker: Speaker, microphone: Microphone, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "in.wav", ramp(300), RATE)
    monkeypatch.setenv("AUDIOSTREAM_OUTPUT", f"file:{tmp_path}/out.wav")
    monkeypatch.setenv("AUDIOSTREAM_INPUT", f"file:{tmp_path}/in.wav")
    output, input = speaker("default"), microphone("default")
    assert input.source == "default"
    play(output, ramp(400))
    output.close()
    np.testing.assert_array_equal(sounding(read_wav(tmp_path / "out.wav")), ramp(400))
    chunks = listen_to_the_end(input)
    np.testing.assert_array_equal(heard_frames(input, chunks), ramp(300))


def test_another_callback_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIOSTREAM_CALLBACK", "fortran")
    with pytest.raises(DeviceError, match=r"AUDIOSTREAM_CALLBACK='fortran'.*native.*python"):
        AudioOutput(device="null").open_blocking()
    monkeypatch.setenv("AUDIOSTREAM_CALLBACK", "python")
    AudioOutput(device="null").open_blocking().close()


def test_a_refused_callback_path_does_not_use_a_loopback_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUDIOSTREAM_CALLBACK", "fortran")
    with pytest.raises(DeviceError, match="fortran"):
        AudioOutput(device="loopback:refused").open_blocking()
    monkeypatch.delenv("AUDIOSTREAM_CALLBACK")
    AudioOutput(device="loopback:refused").open_blocking().close()


# ------------------------------------------------------------------------------ wav.header


@pytest.mark.parametrize("encoding", [16, 32])
@pytest.mark.parametrize(("channels", "frames"), [(1, 0), (1, 3), (2, 1000), (5, 7)])
def test_a_header_is_what_readers_expect(
    tmp_path: Path, encoding: int, channels: int, frames: int
) -> None:
    data = noise(max(frames, 4), channels, encoding)[:frames]
    raw = data.tobytes()
    path = tmp_path / "a.wav"
    path.write_bytes(wav.header(44100, channels, encoding, len(raw)) + raw)
    np.testing.assert_array_equal(read_wav(path), data)


@pytest.mark.parametrize("encoding", [16, 32])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_a_header_keeps_its_length(channels: int, encoding: int) -> None:
    sizes = (None, 0, 1000 * channels * encoding // 8, channels << 40)
    assert len({len(wav.header(48000, channels, encoding, size)) for size in sizes}) == 1


@pytest.mark.parametrize("encoding", [16, 32])
@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (None, b"RIFF"),
        ((1 << 32) - 96, b"RIFF"),  # the file is 4 GiB long, but for two or sixteen bytes
        (1 << 32, b"RF64"),
        (6 << 30, b"RF64"),
    ],
)
def test_a_header_tells_of_any_length(
    tmp_path: Path, encoding: int, size: int | None, kind: bytes
) -> None:
    header = wav.header(48000, 2, encoding, size)
    assert header[:4] == kind
    path = tmp_path / "a.wav"
    there = 8000 if size is None else size
    with path.open("wb") as file:  # sparse
        file.write(header)
        file.truncate(len(header) + there)
    with soundfile.SoundFile(path) as reader:
        if size is not None:
            assert reader.frames == there // (encoding // 4)
        reader.seek(there // (encoding // 4) - 100)
        assert len(reader.read(200)) == 100


# --------------------------------------------------------------------------- a busy Python


def test_a_virtual_device_goes_on_while_the_interpreter_is_held(
    speaker: Speaker,
) -> None:
    output = speaker("null", rate=48000, buffersize=48)
    eventually(lambda: output.stats.callbacks > 0)
    sleep = ctypes.PyDLL(None).usleep  # keeps the interpreter lock
    before = output.stats.callbacks
    sleep(200_000)
    assert output.stats.callbacks - before >= 20  # of 200 that are due
