"""What is heard by now, beside a twin without latency that is stepped frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from audiostream import aio
from audiostream.pcm import Format
from audiostream.testing import ManualDevice

PERIOD = 96
RATES = (8000, 22050, 24000, 48000)


@contextmanager
def speaker_on(device: ManualDevice) -> Iterator[aio.AudioOutput]:
    speaker = aio.get_output(48000, 1, 32, PERIOD, device=device)
    with speaker:
        yield speaker


class Play:
    """A voice that a script is played on, in steps of the device of so many frames."""

    def __init__(self, speaker: aio.AudioOutput, device: ManualDevice, rate: int) -> None:
        self.speaker, self.device = speaker, device
        self.voice = speaker.sample(rate=rate, encoding=16, buffer=0.1)
        self.utterances: list[aio.Utterance] = []
        self.now = 0
        self.told: list[tuple[int, int]] = [(0, 0)]  # frames of the device, position
        self.sound: list[np.ndarray] = []
        self.before = (0, 0)

    def do(self, what: str, rng: np.random.Generator, latency: float) -> None:
        voice = self.voice
        noise = rng.integers(-9000, 9000, int(rng.integers(1, voice.rate // 20)), np.int16)
        if what == "write":
            voice.write_nowait(noise.tobytes()[: len(noise) * 2 - 1])
            voice.write_nowait(noise.tobytes()[len(noise) * 2 - 1 :])
        elif what == "utterance":
            self.utterances.append(voice.utterance())
            self.utterances[-1].write_nowait(noise)
        elif what == "clear":
            voice.clear_nowait(float(rng.choice([0, 0.001, 0.005])))
        elif what == "stop at":
            voice.stop(at=(self.now + 200) / 48000 + latency)
        elif what == "format":
            format = Format(int(rng.choice(RATES)), 1, 16)
            voice._voice.set_format(format)
        elif what in ("underrun", "jitter"):
            self.device.fault(what)  # type: ignore[arg-type]
        else:
            getattr(voice, what)()

    def step(self, frames: int) -> None:
        self.sound.append(self.device.step(frames))
        self.now += frames
        self.look()

    def look(self) -> None:
        counts = self.voice._voice.counts()
        assert counts.position >= self.before[0], "it never goes back"
        assert counts.cleared >= self.before[1]
        assert counts.buffered >= 0
        self.before = counts.position, counts.cleared
        self.told.append((self.now, counts.position))
        for utterance in self.utterances:
            assert 0 <= utterance.heard <= utterance.written


SCRIPT = ["write"] * 8 + ["utterance"] * 2 + ["end", "pause", "play", "play", "resume"]
FAULTS = ["underrun", "jitter"]
RESAMPLED = ["clear", "clear", "stop", "stop at", "format"]


@pytest.mark.parametrize("rate", [48000, 24000])
@pytest.mark.parametrize("seed", range(4))
def test_within_a_block_of_the_truth_and_never_ahead(seed: int, rate: int) -> None:
    """Through pauses, shortages, clears, other formats, jitter and underruns."""
    latency = 450  # frames
    finals = []
    heard: list[int] = []

    def played(behind: int, steps: Callable[[int], list[int]]) -> Play:
        device = ManualDevice(latency=behind / 48000)
        with speaker_on(device) as speaker:
            play = Play(speaker, device, rate)
            rng = np.random.default_rng(seed)
            for _ in range(50):
                what = str(rng.choice(SCRIPT + RESAMPLED + FAULTS))
                with suppress(aio.WouldBlock, aio.FormatError):  # no room, half a frame waits
                    play.do(what, rng, behind / 48000)
                play.look()
                for frames in steps(int(rng.integers(0, 300))):
                    play.step(frames)
            play.voice.play()
            play.voice.end()
            for frames in steps(6000):
                play.step(frames)
            voice = play.voice
            finals.append((voice.written, voice.position, voice.cleared, voice.buffered))
            heard.extend(utterance.heard for utterance in play.utterances)
        return play

    def in_blocks(frames: int) -> list[int]:
        return [PERIOD] * (frames // PERIOD) + [frames % PERIOD] * (frames % PERIOD > 0)

    truth: dict[int, int] = {}
    twin = played(0, lambda frames: [1] * frames)
    truth.update(twin.told)
    play = played(latency, in_blocks)
    np.testing.assert_allclose(
        np.concatenate(play.sound), np.concatenate(twin.sound), atol=2e-6
    )
    for now, position in play.told:
        assert position <= truth[max(now - latency, 0)], f"ahead of the sound at {now}"
        assert position >= truth[max(now - latency - PERIOD, 0)], f"behind it at {now}"
    assert finals[0] == finals[1]
    assert finals[0][3] == 0
    assert finals[0][2] > 0
    assert heard[: len(heard) // 2] == heard[len(heard) // 2 :]


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100])
@pytest.mark.parametrize("block", [1, 7, 63, 480])
def test_at_another_rate_it_is_where_the_frames_are(rate: int, block: int) -> None:
    """In closed form: own frame k is heard with the device's frame 48000 k / rate."""
    device = ManualDevice(latency=0.01)
    with speaker_on(device) as speaker:
        voice = speaker.sample(rate=rate, encoding=16, buffer=0.5)
        total = rate // 4
        assert voice.write_nowait(np.full(total, 99, np.int16)) == total
        voice.end()
        for now in range(block, 14_000 if block > 1 else 2500, block):
            device.step(block)
            passed = min(max(now - 480, 0), 12_000)
            assert voice.position == passed * rate // 48000
            assert voice.buffered == total - voice.position


def test_asking_for_what_was_heard_of_a_cut_utterance_changes_nothing() -> None:
    """What the device still has counts as heard of it, and not of the position."""
    device = ManualDevice(latency=0.1)
    with speaker_on(device) as speaker:
        voice = speaker.sample(encoding=32)
        utterance = voice.utterance()
        utterance.write_nowait(np.full(9600, 0.5, np.float32))
        device.step(4800 + 480)
        voice.clear_nowait(0)
        device.step(96)
        assert utterance.heard == 4800 + 480
        assert voice.position == 480 + 96
        device.step(9600)
        assert voice.position == utterance.heard == 4800 + 480


def test_the_books_of_what_is_not_asked_for_do_not_grow() -> None:
    device = ManualDevice(latency=0.01)
    with speaker_on(device) as speaker:
        voice = speaker.sample(rate=24000, encoding=16)
        for number in range(300):
            voice.write_nowait(np.full(48, 99, np.int16))
            voice.end()
            if number % 5 == 0:
                voice.clear_nowait(0)
            device.step(192)
        assert len(voice._voice.accounting._segments) < 20
        device.step(960)
        assert voice.buffered == 0
        assert voice.written == voice.position + voice.cleared == 300 * 48
