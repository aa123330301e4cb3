"""The asyncio sample on a manual device, on both event loops."""

from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest

from audiostream import aio, errors
from audiostream.aio.sample import PIECE
from audiostream.engine import sample_input
from audiostream.errors import FormatError
from audiostream.testing import ManualDevice
from tests.aio.support import ramp, settle, spawn, speaker_on

pytestmark = pytest.mark.anyio


async def test_drain_returns_when_the_last_frame_has_left_the_device() -> None:
    device = ManualDevice(latency=0.01)  # 480 frames at 48 kHz
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample()
        await voice.write(ramp(0, 1000))
        draining = await spawn(group, voice.drain)
        device.step(1000)
        await settle()
        assert voice.position == 1000 - 480
        assert not draining.done  # the ring is empty, but it is not heard yet
        device.step(479)
        await settle()
        assert not draining.done
        device.step(1)
        await settle()
        assert draining.done
        assert voice.position == voice.written == 1000
        assert speaker.stats.starved == 0  # running dry after drain's end() is no starvation


async def test_drain_flushes_the_resampler_and_the_counts_are_exact() -> None:
    device = ManualDevice(rate=48000)
    async with speaker_on(device, rate=48000) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(rate=16000)
        await voice.write(np.zeros(1003, np.int16))
        draining = await spawn(group, voice.drain)
        for _ in range(60):
            device.step(64)
            await settle()
        assert draining.done
        assert (voice.written, voice.position, voice.buffered) == (1003, 1003, 0)


async def test_drain_of_nothing_returns() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        await speaker.sample().drain()


@pytest.mark.parametrize(
    ("rate", "channels", "frequency"),
    [(22050, 1, 440.0), (16000, 2, 1000.0), (44100, 1, 997.0)],
)
async def test_another_rate_and_channel_count_are_converted(
    rate: int, channels: int, frequency: float
) -> None:
    device = ManualDevice(rate=48000, channels=2)
    async with speaker_on(device, rate=48000, channels=2, encoding=32) as speaker:
        voice = speaker.sample(rate=rate, channels=channels, encoding=32, buffer=1.5)
        time = np.arange(rate) / rate
        tone = (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)
        await voice.write(np.repeat(tone[:, None], channels, axis=1))
        voice.end()
        played = device.step(48000 + 2000)
        assert voice.position == rate
        left, right = played[:48000, 0], played[:48000, 1]
        assert np.array_equal(left, right)
        spectrum = np.abs(np.fft.rfft(left * np.hanning(48000)))
        assert abs(int(spectrum.argmax()) - frequency) <= 1
        assert np.sqrt(np.mean(left[2000:46000] ** 2)) == pytest.approx(0.5 / 2**0.5, rel=0.001)
        # The tail after the flush is silence.
        assert np.abs(played[48000 + 100 :]).max() < 1e-3


async def test_stereo_to_mono_averages_and_mono_to_stereo_copies() -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=1) as speaker:
        voice = speaker.sample(channels=2)
        voice.write_nowait(np.array([[100, 300], [-5, 5]], np.int16))
        assert device.step(2)[:, 0].tolist() == [200, 0]
    device = ManualDevice()
    async with speaker_on(device, channels=2) as speaker:
        voice = speaker.sample(channels=1)
        voice.write_nowait(np.array([100, -7], np.int16))
        assert device.step(2).tolist() == [[100, 100], [-7, -7]]


async def test_arrays_of_every_dtype_and_bytes_like_objects() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=16) as speaker:
        voice = speaker.sample()
        assert voice.write_nowait(np.array([1, -128], np.int8)) == 2
        assert voice.write_nowait(np.array([0.5, -1.0], np.float32)) == 2
        assert voice.write_nowait(np.array([[3], [4]], np.int16)) == 2
        assert voice.write_nowait(bytearray(b"\x05\x00")) == 2
        assert voice.write_nowait(memoryview(b"\x00\x06\x00")[1:]) == 2
        assert voice.write_nowait(np.arange(20, dtype=np.int16)[::2]) == 10
        expected = [256, -32768, 16384, -32768, 3, 4, 5, 6, *range(0, 20, 2)]
        assert device.step(len(expected))[:, 0].tolist() == expected


@pytest.mark.parametrize("frames", [50, 5000])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
async def test_arrays_however_they_lie_in_memory(frames: int, dtype: Any) -> None:
    """Short ones are copied, long ones are read where they are."""
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        voice = speaker.sample(buffer=1)
        rng = np.random.default_rng(frames)
        full = 1 if dtype is np.float32 else 32768
        data = (rng.uniform(-1, 1, (frames, 2)) * full).astype(dtype)
        wanted = (data / np.float32(full)).astype(np.float32)
        sealed = data.copy()
        sealed.flags.writeable = False
        crooked = np.frombuffer(b"-" + data.tobytes(), dtype, offset=1).reshape(-1, 2)
        assert not crooked.flags.aligned
        for block in (data, sealed, crooked, np.asfortranarray(data), data[::-1], data[:0]):
            assert await voice.write(block) == len(block)
            heard = wanted[::-1] if block.base is data and len(block) else wanted[: len(block)]
            np.testing.assert_array_equal(device.step(len(block)), heard)


@pytest.mark.parametrize("shape", [(), (3,), (3, 3), (3, 2, 1)])
async def test_arrays_of_another_shape_are_refused_and_lose_nothing(shape: Any) -> None:
    """At once, and behind a write that waits."""
    device = ManualDevice()
    async with speaker_on(device, channels=2) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(buffer=100 / 48000)
        voice.ramp = 0
        wrong = np.zeros(shape, np.int16)
        with pytest.raises(errors.FormatError, match=r"shape \(frames,"):
            voice.write_nowait(wrong)
        with pytest.raises(errors.FormatError, match=r"shape \(frames,"):
            await voice.write(wrong)
        waiting = await spawn(group, lambda: voice.write(ramp(0, 300, 2)))
        refused = await spawn(group, lambda: voice.write(wrong))
        heard = []
        while not (waiting.done and refused.done):
            heard.append(device.step(50))
            await settle()
        assert isinstance(refused.error, errors.FormatError)
        heard.append(device.step(100))
        np.testing.assert_array_equal(np.concatenate(heard)[:300], ramp(0, 300, 2))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("frames", [3001, 40_001])
async def test_a_chunk_longer_than_the_ring_is_heard_whole(kind: Any, frames: int) -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(buffer=1000 / 48000)
        voice.ramp = 0
        data = ramp(0, frames)
        writing = await spawn(group, lambda: voice.write(kind(data.tobytes())))
        heard = []
        while not writing.done:
            heard.append(device.step(500))
            await settle()
        assert writing.result == 2 * frames
        heard.append(device.step(1000))
        np.testing.assert_array_equal(np.concatenate(heard)[:frames], data)


async def test_writes_of_several_tasks_do_not_interleave() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(buffer=64 / 48000)
        voice.ramp = 0  # nothing dies away where it runs dry
        for number in range(1, 6):
            await spawn(group, lambda n=number: voice.write(np.full(150, n, np.int16)))
        heard = []
        for _ in range(40):
            heard.append(device.step(32))
            await settle()
        flat = np.concatenate(heard)[:, 0]
        flat = flat[flat != 0]
        assert flat.tolist() == [n for n in range(1, 6) for _ in range(150)]


async def test_a_cancelled_write_has_taken_whole_frames_and_counts_them() -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(buffer=100 / 48000)
        voice.ramp = 0  # nothing dies away where it runs dry
        data = ramp(0, 500, 2).tobytes()[:-3]
        writing = await spawn(group, lambda: voice.write(data))
        device.step(64)
        await settle()
        writing.scope.cancel()
        await settle()
        assert writing.done
        assert voice.written == 164
        # What comes next begins on a frame: nothing of the cut one is left behind.
        assert voice.write_nowait(np.full((1, 2), 77, np.int16)) == 0  # full
        device.step(164 - 64)
        assert voice.write_nowait(np.full((1, 2), 77, np.int16)) == 1
        assert device.step(2).tolist() == [[77, 77], [0, 0]]


async def test_a_write_into_a_cancelled_scope_takes_nothing() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        voice = speaker.sample()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await voice.write(ramp(0, 10))
        assert scope.cancelled_caught
        assert voice.written == 0


async def test_clear_returns_what_was_heard_and_releases_every_writer() -> None:
    device = ManualDevice(latency=0.01)
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(buffer=1000 / 48000)
        writers = [
            await spawn(group, lambda: voice.write(np.full(2000, 10000, np.int16)))
            for _ in range(3)
        ]
        device.step(640)
        await settle()
        clearing = await spawn(group, lambda: voice.clear(fade=128 / 48000))
        assert all(writer.done for writer in writers)
        assert sum(writer.result for writer in writers) == voice.written
        assert not clearing.done
        played = device.step(256)[:, 0]
        await settle()
        assert clearing.result == 640 + 128
        expected = 10000 * (127 - np.arange(128)) / 128
        assert np.abs(played[:128] - expected).max() <= 0.5
        assert not played[128:].any()
        assert voice.position == 640 + 256 - 480  # in the device still
        device.step(480)
        assert voice.position == 768
        assert voice.written == voice.position + voice.cleared
        # The next utterance starts clean, with no fade.
        voice.write_nowait(ramp(0, 10))
        assert np.array_equal(device.step(10), ramp(0, 10))


async def test_clear_drops_the_carry_and_the_resamplers_tail() -> None:
    device = ManualDevice(rate=48000)
    async with speaker_on(device) as speaker:
        voice = speaker.sample(rate=16000)
        voice.write_nowait(np.full(300, 20000, np.int16).tobytes() + b"\x01")
        voice.clear_nowait(fade=0)
        device.step(64)
        assert (voice.written, voice.cleared, voice.position) == (300, 300, 0)
        voice.write_nowait(np.zeros(500, np.int16))
        voice.end()
        assert not device.step(3000).any()
        assert (voice.written, voice.cleared, voice.position) == (800, 300, 500)


async def test_clear_of_a_silent_sample_needs_no_sound() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample()
        assert await voice.clear() == 0
        voice.stop()
        voice.write_nowait(ramp(0, 10))
        clearing = await spawn(group, voice.clear)
        device.step(1)
        await settle()
        assert clearing.result == 0
        assert voice.cleared == 10


async def test_stop_fades_and_drops_and_play_goes_on() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        voice = speaker.sample()
        voice.write_nowait(np.full(2000, 1000, np.int16))
        device.step(100)
        voice.stop()
        voice.stop()
        played = device.step(400)[:, 0]
        assert np.all(np.diff(played[:240]) <= 0)  # 5 ms are 240 frames
        assert not played[240:].any()
        voice.write_nowait(ramp(0, 5))
        assert not device.step(100).any()
        voice.play()
        assert np.array_equal(device.step(5), ramp(0, 5))


async def test_gain_ramps_while_it_sounds_and_jumps_in_silence() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample()
        assert voice.gain == 1.0
        voice.gain = 0.5
        voice.write_nowait(np.full(1000, 1.0, np.float32))
        assert np.array_equal(device.step(100)[:, 0], np.full(100, 0.5, np.float32))
        voice.gain = 0.0
        played = device.step(300)[:, 0]
        expected = np.maximum(0.5 - 0.5 / 240 * (np.arange(300) + 1), 0)
        assert np.abs(played - expected).max() < 1e-6
        for wrong in (-1, float("nan"), float("inf"), "loud"):
            with pytest.raises(errors.FormatError, match=r"try 1\.0"):
                voice.gain = wrong
        assert voice.gain == 0.0


async def test_the_mix_saturates() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        voices = [speaker.sample() for _ in range(3)]
        for voice in voices:
            voice.write_nowait(np.array([30000, -30000, 5], np.int16))
        assert device.step(3)[:, 0].tolist() == [32767, -32768, 15]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e38, np.float64(1e300)])
@pytest.mark.parametrize(("rate", "channels"), [(48000, 1), (48000, 2), (16000, 1)])
async def test_what_is_no_number_harms_no_other_voice(
    bad: float, rate: int, channels: int
) -> None:
    """Not in the declick after a starvation, nor in a filter, nor ever after."""
    device = ManualDevice()
    async with speaker_on(device, channels=channels, encoding=32) as speaker:
        voice = speaker.sample(rate=rate, channels=1, encoding=32, buffer=1.0)
        other = speaker.sample(channels=1, encoding=32, buffer=1.0)
        other.write_nowait(np.full(20_000, 0.25, np.float32))
        data = np.full(1600, 0.25, np.float64 if isinstance(bad, np.float64) else np.float32)
        data[-1] = bad
        voice.write_nowait(data)
        played = device.step(5800)
        assert np.isfinite(played).all()
        if np.isnan(bad):
            assert (played >= 0.25 - 1e-6).all()
        voice.write_nowait(np.full(1600, 0.25, np.float32))
        device.step(3600)
        voice.write_nowait(np.full(1600, 0.25, np.float32))
        assert (device.step(4000)[1000:] >= 0.25 - 1e-6).all()
        # The last frame before a starvation still dies away.
        device.step(2000)
        voice.write_nowait(np.full(1600, 0.25, np.float32))
        assert np.abs(np.diff(device.step(6000), axis=0)).max() < 0.01
        assert voice.shortages >= 2


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ("text", TypeError),
        (3, TypeError),
        ([1, 2], TypeError),
        (np.zeros(4, np.float64), errors.FormatError),
        (np.zeros((4, 3), np.int16), errors.FormatError),
        (np.zeros(4, ">i2"), errors.FormatError),
        (np.zeros(4, np.int16), errors.FormatError),  # one dimension, two channels
    ],
)
async def test_what_cannot_be_written_is_refused_and_loses_nothing(data, error) -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2) as speaker:
        voice = speaker.sample()
        voice.write_nowait(b"\1\0\2\0\3")
        with pytest.raises(error, match=r"try|write"):
            voice.write_nowait(data)
        with pytest.raises(error):
            await voice.write(data)
        voice.write_nowait(b"\0\4\0")
        assert device.step(2).tolist() == [[1, 2], [3, 4]]


async def test_an_array_may_not_cut_into_an_unfinished_frame() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        voice = speaker.sample()
        voice.write_nowait(b"\1")
        with pytest.raises(errors.FormatError, match="unfinished frame"):
            voice.write_nowait(ramp(0, 3))
        voice.end()
        assert voice.write_nowait(ramp(4, 1)) == 1
        assert device.step(2)[:, 0].tolist() == [1, 5]


async def test_closing_wakes_writers_drainers_and_clearers() -> None:
    device = ManualDevice()
    async with anyio.create_task_group() as group:
        speaker = await aio.get_output(48000, 1, device=device).open()
        voices = [speaker.sample(buffer=0.001) for _ in range(3)]
        for voice in voices:
            voice.write_nowait(ramp(0, 40))
        waiting = [
            await spawn(group, lambda: voices[0].write(bytes(10000))),
            await spawn(group, voices[1].drain),
            await spawn(group, voices[2].clear),
        ]
        assert not any(task.done for task in waiting)
        await speaker.aclose()
        await settle()
        for task in waiting:
            assert isinstance(task.error, aio.StreamClosedError)
            assert isinstance(task.error, anyio.ClosedResourceError)
        for voice in voices:
            assert voice.written == voice.position + voice.cleared
            assert voice.buffered == 0
        await speaker.aclose()


async def test_a_device_that_dies_wakes_everybody() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(buffer=0.001)
        writing = await spawn(group, lambda: voice.write(bytes(10000)))
        device.fault("die")
        speaker.engine.fail("the device has gone")  # as the watchdog does for real ones
        await settle()
        assert isinstance(writing.error, aio.DeviceError)
        with pytest.raises(aio.DeviceError, match="open another one"):
            voice.write_nowait(b"\0\0")


async def test_aclose_of_a_sample_frees_its_slot() -> None:
    device = ManualDevice()
    async with speaker_on(device, voices=2) as speaker:
        voices = [speaker.sample() for _ in range(2)]
        with pytest.raises(aio.AudioException, match=r"voices=4"):
            speaker.sample()
        await voices[0].aclose()
        await voices[0].aclose()
        with pytest.raises(aio.StreamClosedError, match="removed"):
            await voices[0].write(b"\0\0")
        async with speaker.sample() as another:
            another.write_nowait(ramp(0, 3))
            assert np.array_equal(device.step(3), ramp(0, 3))
        for _ in range(1000):
            await speaker.sample().aclose()


async def test_a_sample_is_an_anyio_send_stream() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker:
        voice = speaker.sample()
        assert isinstance(voice, anyio.abc.ByteSendStream)
        await voice.send(ramp(0, 4).tobytes())
        assert np.array_equal(device.step(4), ramp(0, 4))


def test_a_sample_belongs_to_the_first_loop_that_waits_on_it(anyio_backend: str) -> None:
    device = ManualDevice()
    speaker = aio.get_output(48000, 1, device=device)
    with speaker:
        voice = speaker.sample(buffer=0.001)
        speaker_voice = speaker.sample(buffer=0.001)

        async def fill() -> None:
            with anyio.move_on_after(0):
                await voice.write(bytes(1000))
            async with anyio.create_task_group() as group:
                await spawn(group, lambda: voice.write(bytes(1000)))
                group.cancel_scope.cancel()

        async def foreign() -> None:
            voice.write_nowait(bytes(1000))
            with pytest.raises(aio.AudioException, match="another event loop"):
                await voice.write(bytes(1000))
            # One stream serves samples of any number of loops.
            async with anyio.create_task_group() as group:
                writing = await spawn(group, lambda: speaker_voice.write(bytes(500)))
                while not writing.done:
                    device.step(16)
                    await settle()

        anyio.run(fill, backend=anyio_backend)
        anyio.run(foreign, backend=anyio_backend)


async def test_two_hundred_tasks_are_gapless() -> None:
    """The sum of two hundred voices, each written by a task of its own."""
    device = ManualDevice(buffersize=256)
    async with speaker_on(device, encoding=32, voices=200) as speaker:
        rng = np.random.default_rng(3)
        signals = rng.integers(-128, 128, (200, 3000)).astype(np.int8)

        async def play(signal: np.ndarray, chunk: int) -> None:
            voice = speaker.sample(encoding=8, buffer=0.02)
            voice.gain = 1 / 256
            rest = signal.tobytes()
            while rest:
                await voice.write(rest[:chunk])
                rest = rest[chunk:]
            await voice.drain()

        played = []
        async with anyio.create_task_group() as group:
            for number, signal in enumerate(signals):
                group.start_soon(play, signal, 101 + number)
            await settle()
            for _ in range(20):
                played.append(device.step(256))
                await settle()
        heard = np.concatenate(played)[:3000, 0]
        expected = signals.astype(np.float64).sum(axis=0) / 128 / 256
        assert np.abs(heard - expected).max() < 1e-6
        assert speaker.stats.starved == 0


async def test_two_hundred_tasks_on_the_null_device() -> None:
    """Nothing is lost in real time; whether it is also in time, benchmarks/tasks.py tells."""
    async with aio.get_output(48000, 1, buffersize=512, device="null") as speaker:
        voices = [speaker.sample() for _ in range(200)]

        async def play(voice: aio.AudioSample) -> None:
            for _ in range(60):
                await voice.write(bytes(2 * 960))
            await voice.drain()

        async with anyio.create_task_group() as group:
            for voice in voices:
                group.start_soon(play, voice)
        for voice in voices:
            assert (voice.written, voice.position, voice.cleared) == (57600, 57600, 0)


async def test_what_is_written_without_waiting_never_gets_into_a_waiting_chunk() -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(buffer=0.01)
        waiting = await spawn(group, lambda: voice.write(np.full(2000, 100, np.int16)))
        played = []
        while not waiting.done:
            played.append(device.step(64))
            assert voice.write_nowait(np.full(10, 200, np.int16)) == 0
            with pytest.raises(TypeError):
                voice.write_nowait("text")
            await settle()
        assert voice.write_nowait(np.full(10, 200, np.int16)) == 10
        voice.end()
        played.append(device.step(1000))
        whole = np.concatenate(played)[:, 0]
        assert (whole[:2000] == 100).all()
        assert (whole[2000:2010] == 200).all()


# --- bounded work in a call --------------------------------------------------------


class Taken(list[int]):
    """Sizes of the pieces that a voice is handed, and copies that are made of arrays."""

    def __init__(self, sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.copied: list[int] = []
        write, ready = sample._voice.write_nowait, sample_input._ready

        def write_nowait(data: Any) -> int:
            self.append(len(data))
            taken: int = write(data)
            return taken

        def counted(data: np.ndarray) -> np.ndarray:
            self.copied.append(len(data))
            return ready(data)

        monkeypatch.setattr(sample._voice, "write_nowait", write_nowait)
        monkeypatch.setattr(sample_input, "_ready", counted)


@pytest.mark.parametrize("kind", ["array", "bytes", "bytearray"])
@pytest.mark.parametrize("rate", [48000, 44100])
async def test_a_long_write_gives_the_event_loop_its_turn(
    rate: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = ManualDevice()
    async with speaker_on(device) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample(rate=rate, buffer=10)
        array = ramp(0, 5 * rate)
        data = (
            array if kind == "array" else {"bytes": bytes, "bytearray": bytearray}[kind](array)
        )
        taken = Taken(sample, monkeypatch)
        turns = []

        async def watch() -> None:
            while True:
                turns.append(sum(taken))
                await anyio.lowlevel.checkpoint()

        watching = await spawn(group, watch)
        turns.clear()
        assert await sample.write(data) == len(data)
        watching.scope.cancel()
        assert max(taken) <= PIECE
        assert sum(taken) == len(data)
        assert len(turns) >= len(data) // PIECE // 2  # trio runs tasks in any order
        # In one utterance, too.
        taken.clear()
        assert await sample.utterance().write(data[: 3 * PIECE // 4])
        assert max(taken) <= PIECE


async def test_a_long_write_is_in_one_piece_for_others() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=16) as speaker, anyio.create_task_group() as group:
        sample = speaker.sample(buffer=5)
        first, second = ramp(0, 3 * PIECE), ramp(7, 2 * PIECE)
        group.start_soon(sample.write, first)
        group.start_soon(sample.write, second)
        await settle(30)
        heard = device.step(5 * PIECE)
        if heard[0] != first[0]:  # trio starts tasks in any order
            first, second = second, first
        np.testing.assert_array_equal(heard, np.concatenate([first, second]))


@pytest.mark.parametrize("rate", [48000, 44100])
async def test_no_more_is_copied_of_an_array_than_there_is_room_for(
    rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = ManualDevice()
    async with speaker_on(device, channels=2, encoding=32) as speaker:
        sample = speaker.sample(rate=rate, buffer=0.1)
        array = np.zeros((2, 100_000), np.float32).T
        taken = Taken(sample, monkeypatch)
        count = sample.write_nowait(array)
        assert 0 < count <= rate // 10 + 100
        assert sample.write_nowait(array[count:]) < 100
        assert max(taken.copied) <= rate // 10 + 100
        with pytest.raises(FormatError):
            sample.write_nowait(array.T)
