"""What the tests of the stand-in run in processes of their own, without pytest."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import standin
from benchmarks.standin.players import LEVEL, WAYS

RATE, FRAMES = 48000, 64


def open_by_pyaudio(host: Any, **more: Any) -> Any:
    import pyaudio

    return host.open(
        rate=RATE, channels=2, format=pyaudio.paInt16, frames_per_buffer=FRAMES, **more
    )


def play_ramp_by_pyaudio() -> dict[str, Any]:
    """Twenty blocks of a ramp, stepped."""
    import pyaudio

    ramp = np.arange(40 * FRAMES, dtype="i2").reshape(-1, 2)
    blocks = iter(np.split(ramp, 20))
    calls = []

    def callback(_: Any, frames: int, *__: Any) -> tuple[bytes, int]:
        calls.append(frames)
        return next(blocks).tobytes(), pyaudio.paContinue

    host = pyaudio.PyAudio()
    stream = open_by_pyaudio(host, output=True, stream_callback=callback)
    device = standin.Standin().newest()
    device.reset(record_bytes=ramp.nbytes + 100)
    device.step(20)
    counts, recording = device.counts(), device.recording(2, "i2")
    stream.close()
    name = host.get_default_output_device_info()["name"]
    host.terminate()
    return {
        "name": name,
        "calls": len(calls),
        "steps": counts.steps,
        "periods": counts.periods,
        "frames": len(recording),
        "differences": int((recording != ramp).sum()),
    }


def listen_by_pyaudio() -> list[list[int]]:
    import pyaudio

    blocks = []

    def callback(data: bytes, *_: Any) -> tuple[None, int]:
        blocks.append(np.frombuffer(data, "i2").reshape(-1, 2))
        return None, pyaudio.paContinue

    host = pyaudio.PyAudio()
    stream = open_by_pyaudio(host, input=True, stream_callback=callback)
    standin.Standin().newest().step(5)
    stream.close()
    host.terminate()
    return np.concatenate(blocks).tolist()


def write_and_read_by_pyaudio() -> dict[str, Any]:
    """In pace; what was late is silence in the recording and left out of the comparison."""
    import pyaudio

    ramp = np.arange(1, 40 * FRAMES + 1, dtype="i2").reshape(-1, 2)
    host = pyaudio.PyAudio()
    stream = open_by_pyaudio(host, output=True)
    device = standin.Standin().newest()
    device.reset(record_bytes=100 * ramp.nbytes)
    for start in range(0, len(ramp), 50):
        stream.write(ramp[start : start + 50].tobytes(), exception_on_underflow=False)
    stream.stop_stream()
    counts, recording = device.counts(), device.recording(2, "i2")
    stream.close()
    stream = open_by_pyaudio(host, input=True)
    read = np.frombuffer(stream.read(100, exception_on_overflow=False), "i2")
    stream.close()
    host.terminate()
    played = recording[recording.any(axis=1)]
    expected = ramp if counts.missed == 0 else ramp[np.isin(ramp[:, 0], played[:, 0])]
    return {
        "differences": int((played != expected).sum()),
        "read": read.reshape(-1, 2)[:, 0].tolist(),
        "periods": counts.periods,
        "on_time": counts.on_time,
        "missed": counts.missed,
        "overslept": counts.overslept,
    }


def run_controls() -> dict[str, dict[str, int]]:
    device = standin.Standin()
    found = {}
    period = FRAMES * 1_000_000_000 // RATE
    for name, burn in {"quick": 0, "slow": 2 * period}.items():
        with device.control(FRAMES, burn=burn) as stream:
            stream.reset(50, record_bytes=60 * FRAMES * 8)
            while not stream.wait(1):
                pass
            assert not stream.recording(2).any()
            found[name] = vars(stream.counts())
    return found


def set_a_wrong_setting() -> str:
    """What is said of it."""
    try:
        standin.Standin().set(volume=11)
    except ValueError as error:
        return str(error)
    return ""


def play_by_audiostream(encoding: int) -> dict[str, Any]:
    from audiostream.aio import get_output
    from audiostream.device.portaudio import output_names

    dtype = {16: "i2", 32: "f4"}[encoding]
    random = np.random.default_rng(1)
    sound = random.integers(-32768, 32768, (20 * FRAMES, 2)).astype("i2")
    if encoding == 32:
        sound = (sound / 32768).astype("f4")
    with get_output(RATE, 2, encoding, FRAMES, device=standin.DEVICE) as output:
        sample = output.sample()
        sample.write_nowait(sound)
        sample.end()
        device = standin.Standin().newest()
        device.reset(record_bytes=2 * sound.nbytes)
        device.step(25)
        played = device.recording(2, dtype)
        starved = output.stats.starved
    return {
        "differences": int((played[: len(sound)] != sound).sum()),
        "rest": float(np.abs(played[len(sound) :]).max()),
        "starved": starved,
        "name": output_names(),
    }


def play_until_heard(way: str) -> dict[str, int]:
    """In pace, so that sound may be late: until some was not."""
    with WAYS[way].play(FRAMES, 60) as tend:
        stream = standin.Standin().newest()
        heard = False
        while not heard:
            tend()
            stream.reset(50, record_bytes=50 * FRAMES * 8)
            while not stream.wait(1):
                pass
            heard = bool((stream.recording(2) > 0.99 * LEVEL).any())
        return vars(stream.counts())
