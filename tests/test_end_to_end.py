"""Speaker to microphone through everything there is, compared sample by sample.

Random signals in random odd-sized chunks: on virtual devices in this process, on real
audio servers in subprocesses, on both callback paths and both event loops.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import anyio
import numpy as np
import pytest
import soundfile

from audiostream import aio
from tests.servers import JackServer, Program, PulseServer, Server

PATHS = ("native", "python")


def signal(encoding: int, frames: int, channels: int, seed: int) -> np.ndarray:
    """Random samples over the whole range, none of them zero."""
    rng = np.random.default_rng(seed)
    if encoding == 32:
        return (
            rng.uniform(0.01, 1, (frames, channels)) * rng.choice([-1, 1], channels)
        ).astype(np.float32)
    top = 2 ** (encoding - 1) - 1
    samples = rng.integers(-top - 1, top, (frames, channels), endpoint=True)
    samples[samples == 0] = 1
    return samples.astype(f"<i{encoding // 8}")


async def write_in_odd_chunks(voice: aio.AudioSample, data: bytes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    while data:
        size = int(rng.integers(1, 2500)) | 1
        assert await voice.write(data[:size]) == len(data[:size])
        data = data[size:]


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AUDIOSTREAM_CALLBACK", request.param)
    return str(request.param)


@pytest.mark.anyio
@pytest.mark.parametrize(("encoding", "channels"), [(8, 1), (16, 2), (16, 3), (32, 2)])
async def test_loopback_is_bit_exact(path: str, encoding: int, channels: int) -> None:
    sent = signal(encoding, 20000, channels, seed=encoding + channels)
    kwargs = {"rate": 48000, "channels": channels, "encoding": encoding}
    async with (
        aio.get_output(device="loopback:e2e", buffersize=500, **kwargs) as speaker,
        aio.get_input(source="loopback:e2e", buffersize=333, **kwargs) as mic,
        anyio.create_task_group() as group,
    ):
        voice = speaker.sample(buffer=0.5)
        voice.stop()
        voice.write_nowait(sent[:12000])  # a full ring: no gap before the writer is awake
        voice.play()
        group.start_soon(write_in_odd_chunks, voice, sent[12000:].tobytes(), 1)
        heard = b""
        async for chunk in mic:
            heard = (
                (heard + chunk) if heard else chunk[_first_sound(chunk, encoding, channels) :]
            )
            if len(heard) >= sent.nbytes:
                break
        assert heard[: sent.nbytes] == sent.tobytes()


def _first_sound(chunk: bytes, encoding: int, channels: int) -> int:
    frame = channels * encoding // 8
    sounding = np.flatnonzero(np.frombuffer(chunk, np.uint8))
    return int(sounding[0]) // frame * frame if len(sounding) else len(chunk)


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", [16, 32])
async def test_a_file_is_bit_exact_both_ways(path: str, encoding: int, tmp_path: Path) -> None:
    sent = signal(encoding, 12001, 2, seed=encoding)
    wav = tmp_path / "played.wav"
    kwargs = {"rate": 44100, "channels": 2, "encoding": encoding}
    async with aio.get_output(device=f"file:{wav}", buffersize=256, **kwargs) as speaker:
        voice = speaker.sample(buffer=0.5)
        await write_in_odd_chunks(voice, sent.tobytes(), seed=2)
        await voice.drain()
    samples, rate = soundfile.read(wav, dtype="int16" if encoding == 16 else "float32")
    sounding = np.flatnonzero(samples.any(axis=1))
    assert rate == 44100
    # Silence may stand in for chunks that a slow machine wrote late, between them only.
    assert np.array_equal(samples[sounding], sent)

    recording = tmp_path / "spoken.wav"
    soundfile.write(recording, sent, 44100, subtype="PCM_16" if encoding == 16 else "FLOAT")
    async with aio.get_input(source=f"file:{recording}", buffersize=100, **kwargs) as mic:
        assert b"".join([chunk async for chunk in mic]) == sent.tobytes()


# --- real servers ------------------------------------------------------------------

ROUND_TRIP = """
import json, sys
import anyio, numpy as np
from audiostream import aio
from tests.test_end_to_end import signal, write_in_odd_chunks

device, encoding, rate, backend = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

async def main():
    sent = signal(encoding, 30000, 2, seed=5)
    kwargs = dict(rate=rate, channels=2, encoding=encoding, buffersize=1024)
    async with (
        aio.get_output(device=device, **kwargs) as speaker,
        aio.get_input(source=device, **kwargs) as mic,
        anyio.create_task_group() as group,
    ):
        voice = speaker.sample(buffer=1.0)
        heard = bytearray()
        async for _ in mic:
            break  # the microphone is on
        async def write():
            await write_in_odd_chunks(voice, sent.tobytes(), 3)
            await voice.drain()
        group.start_soon(write)
        silent = 0
        async for chunk in mic:
            heard += chunk
            silent = 0 if any(chunk) else silent + 1
            if any(heard) and silent > 12:
                break
        samples = np.frombuffer(bytes(heard), sent.dtype).reshape(-1, 2)
        sounding = samples[samples.any(axis=1)]
        result = {
            "same": bool(np.array_equal(sounding, sent)),
            "heard": len(sounding), "device_rate": speaker.device_rate,
            "counts": [voice.written, voice.position, voice.cleared],
            "callbacks": speaker.stats.callbacks,
        }
    print(json.dumps(result), flush=True)

anyio.run(main, backend=backend)
"""


@pytest.fixture(scope="module")
def pulse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulseServer]:
    with PulseServer(tmp_path_factory.mktemp("pulse")) as server:
        yield server


@pytest.fixture(scope="module")
def jack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JackServer]:
    with JackServer(tmp_path_factory.mktemp("jack"), period=1024) as server:
        yield server


def run(server: Server, path: str, source: str, *arguments: object) -> dict[str, object]:
    """Run a program on a server; its one line of JSON.  It prints nothing on stderr."""
    environment = {**server.environment, "AUDIOSTREAM_CALLBACK": path}
    with Program(source, environment, *map(str, arguments), limit=90) as program:
        said = program.hear()
        assert program.finish() == 0, program.errors
        assert program.errors == ""
    return dict(json.loads(said))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("kind", "encoding"), [("pulse", 16), ("jack", 32)])
def test_a_real_server_is_bit_exact(
    kind: str, encoding: int, path: str, backend: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(kind)
    device = "loopback" if kind == "jack" else "default"
    result: dict[str, object] = {}
    # A stalled machine loses sound inside the server; three in a row are not the machine.
    for _ in range(3):
        result = run(server, path, ROUND_TRIP, device, encoding, 48000, backend)
        if result["same"]:
            break
    assert result["same"], result
    assert result["counts"] == [30000, 30000, 0]
    assert result["device_rate"] == 48000


RATES = """
import json
import anyio, numpy as np
from audiostream import aio

def peak(data, rate):
    samples = np.frombuffer(data, np.int16).astype(float)[-rate // 2:]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return int(spectrum.argmax()) * rate / len(samples)

async def main():
    async with (
        aio.get_output(rate=22050, channels=1, device="loopback", buffersize=1024) as speaker,
        aio.get_input(source="loopback", rate=16000, channels=1, buffersize=320) as mic,
        anyio.create_task_group() as group,
    ):
        voice = speaker.sample()
        time = np.arange(4 * 22050) / 22050
        tone = (20000 * np.sin(2 * np.pi * 880 * time)).astype(np.int16)
        group.start_soon(voice.write, tone)
        heard = await mic.read(32000)
        group.cancel_scope.cancel()
        print(json.dumps({
            "rates": [speaker.rate, speaker.device_rate, mic.rate, mic.device_rate],
            "peak": peak(heard, 16000),
        }), flush=True)

anyio.run(main)
"""


@pytest.mark.parametrize("path", PATHS)
def test_a_server_that_only_does_48_khz_is_converted(jack: JackServer, path: str) -> None:
    """A microphone read at 16 kHz and a speaker played at 22.05 kHz, jackd at 48 kHz."""
    result = run(jack, path, RATES)
    assert result["rates"] == [22050, 48000, 16000, 48000]
    assert abs(float(str(result["peak"])) - 880) <= 2


CONFORMANCE = """
import json, sys
from audiostream.testing import DeviceConformance

suite = DeviceConformance(sys.argv[1], encoding=int(sys.argv[2]), buffersize=1024)
print(json.dumps(suite.run()), flush=True)
"""


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("kind", "encoding"), [("pulse", 16), ("jack", 32)])
def test_real_servers_pass_the_conformance_suite(
    kind: str, encoding: int, path: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(kind)
    device = "loopback" if kind == "jack" else "default"
    environment = {**server.environment, "AUDIOSTREAM_CALLBACK": path}
    with Program(CONFORMANCE, environment, device, str(encoding), limit=110) as program:
        checks = json.loads(program.hear())
        assert program.finish() == 0, program.errors
    assert "check_heard" in checks
    assert len(checks) >= 6
