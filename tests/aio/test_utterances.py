"""Turns of a conversation: queued, heard, cut; stepped."""

from __future__ import annotations

import threading

import anyio
import numpy as np
import pytest

from audiostream.aio import AudioException, StreamClosedError, WouldBlock
from audiostream.testing import ManualDevice
from tests.aio.support import settle, spawn, speaker_on

pytestmark = pytest.mark.anyio


def ones(frames: int, level: float = 0.5) -> np.ndarray:
    return np.full(frames, level, np.float32)


async def test_an_utterance_is_heard_to_its_end() -> None:
    device = ManualDevice(latency=0.01)
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(encoding=32)
        u = voice.utterance("first")
        assert u.tag == "first"
        assert await u.write(ones(1000))
        assert u.write_nowait(ones(500))
        finished = await spawn(group, u.finished)
        device.step(480 + 500)
        assert (u.written, u.heard) == (1500, 500)
        assert u.heard_seconds == pytest.approx(500 / 48000)
        u.end()
        u.end()
        assert u.is_ended
        device.step(480 + 500)
        await settle()
        assert not finished.done
        device.step(100)
        await settle()
        assert finished.result is True
        assert (u.heard, u.is_cleared) == (1500, False)
        assert voice.shortages == 0
        with pytest.raises(AudioException, match="ended"):
            await u.write(ones(1))


@pytest.mark.parametrize("rate", [48000, 24000])
async def test_a_clear_cuts_it_and_all_that_are_queued(rate: int) -> None:
    device = ManualDevice(latency=0.01)
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(rate=rate, encoding=32, buffer=2)
        first, second, late = (voice.utterance(tag) for tag in "abc")
        assert first.write_nowait(ones(rate // 2))
        assert second.write_nowait(ones(rate // 2))
        assert first.is_ended, "the next has begun"
        waits = [await spawn(group, u.finished) for u in (first, second)]
        device.step(4800 + 480)
        cleared = await spawn(group, lambda: voice.clear(fade=0.005))
        device.step(64)
        device.step(4800)
        await settle()
        assert cleared.result == pytest.approx((4800 + 480 + 240) * rate / 48000, abs=2)
        assert first.heard == cleared.result
        assert second.heard == 0
        assert [wait.result for wait in waits] == [False, False]
        # What still arrives for them is discarded.
        before = voice.written
        assert not await second.write(ones(100))
        assert not second.write_nowait(ones(100))
        assert not late.write_nowait(ones(100)), "it was made before the clear"
        assert voice.written == before
        # The next one starts clean.
        following = voice.utterance()
        assert following.write_nowait(ones(1000, 0.25))
        following.end()
        assert following.heard == 0
        device.step(9600)
        assert following.heard == 1000
        assert await following.finished()
        assert first.heard == cleared.result, "and stays what it was"
        assert "1000 of 1000" in repr(following)
        assert "cleared" in repr(first)


async def test_one_that_was_heard_before_the_clear_is_not_cleared() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        u = voice.utterance()
        u.write_nowait(ones(100))
        u.end()
        device.step(200)
        voice.clear_nowait()
        device.step(64)
        assert (u.is_cleared, u.heard) == (False, 100)
        assert await u.finished()


async def test_a_write_that_waits_is_released_by_a_clear() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(encoding=32, buffer=0.05)
        u = voice.utterance()
        writing = await spawn(group, lambda: u.write(ones(10_000)))
        assert not writing.done
        voice.clear_nowait()
        device.step(512)
        await settle()
        assert writing.result is False


async def test_a_write_that_waits_comes_before_the_next_utterance_and_the_end() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(encoding=32, buffer=0.05)
        first, second, third = (voice.utterance(tag) for tag in "abc")
        writes = [
            await spawn(group, lambda u=u, level=level: u.write(ones(5000, level)))
            for u, level in ((first, 0.25), (second, 0.5), (third, 0.75), (third, 0.875))
        ]
        assert first.is_ended
        third.end()
        assert third.is_ended
        for ended in (first, third):
            with pytest.raises(AudioException, match="ended"):
                await ended.write(ones(1))
        with pytest.raises(WouldBlock, match="another write"):
            voice.utterance().write_nowait(ones(1))
        with pytest.raises(AudioException, match="ended"):
            third.write_nowait(ones(1))
        waits = [await spawn(group, u.finished) for u in (first, second, third)]
        heard = []
        for _ in range(500):
            heard.append(device.step(64)[:, 0])
            await settle()
        wanted = np.repeat([0.25, 0.5, 0.75, 0.875], 5000)
        np.testing.assert_array_equal(np.concatenate(heard)[:20_000], wanted)
        assert not np.concatenate(heard)[20_000:].any()
        assert [write.result for write in writes] == [True] * 4
        assert [wait.result for wait in waits] == [True] * 3
        assert [u.heard for u in (first, second, third)] == [5000, 5000, 10_000]
        assert voice.shortages == 0


async def test_a_clear_releases_all_that_wait_their_turn() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(encoding=32, buffer=0.05)
        first, second = voice.utterance(), voice.utterance()
        writes = [
            await spawn(group, lambda u=u: u.write(ones(9600))) for u in (first, second, second)
        ]
        device.step(640)
        voice.clear_nowait(0)
        following = voice.utterance()
        assert following.write_nowait(ones(100, 0.25)), "nothing that was cut is in its way"
        await settle()
        assert [write.result for write in writes] == [False] * 3
        device.step(64)
        assert (first.heard, second.heard, second.written) == (640, 0, 0)
        assert (device.step(36)[:, 0] == 0.25).all()
        assert following.heard == 100
        assert (first.is_cleared, second.is_cleared) == (True, True)


async def test_a_write_that_is_cancelled_lets_the_next_utterance_on() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(encoding=32, buffer=0.05)
        first, second = voice.utterance(), voice.utterance()
        writing = await spawn(group, lambda: first.write(ones(9600, 0.25)))
        waiting = await spawn(group, lambda: second.write(ones(100)))
        assert not waiting.done
        writing.scope.cancel()
        await settle()
        assert first.is_ended
        device.step(64)
        await settle()
        assert (device.step(2336) == 0.25).all()
        await settle()
        assert waiting.result is True
        assert (first.written, second.written) == (2400, 100)
        assert (device.step(100) == 0.5).all()
        assert (first.heard, second.heard) == (2400, 100)


async def test_one_that_gives_up_its_turn_leaves_the_one_before_alone() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker, anyio.create_task_group() as group:
        voice = speaker.sample(encoding=32, buffer=0.05)
        first, second, third = (voice.utterance() for _ in range(3))
        await spawn(group, lambda: first.write(ones(5000, 0.25)))
        waiting = await spawn(group, lambda: second.write(ones(100)))
        later = await spawn(group, lambda: third.write(ones(5000, 0.75)))
        waiting.scope.cancel()
        await settle()
        assert second.is_ended
        fourth = voice.utterance()
        last = await spawn(group, lambda: fourth.write(ones(100, 0.5)))
        last.scope.cancel()
        await settle()
        fourth.end()
        heard = []
        for _ in range(200):
            heard.append(device.step(64)[:, 0])
            await settle()
        assert later.result is True
        wanted = np.repeat([0.25, 0.75], 5000)
        np.testing.assert_array_equal(np.concatenate(heard)[:10_000], wanted)
        written = [u.written for u in (first, second, third, fourth)]
        assert written == [5000, 0, 5000, 0]
        assert [u.heard for u in (first, second, third, fourth)] == written


async def test_what_was_heard_of_one_is_not_forgotten() -> None:
    """However many are cut after it."""
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        old = voice.utterance()
        old.write_nowait(ones(1000))
        device.step(500)
        voice.clear_nowait(0)
        device.step(1)
        assert old.heard == 500
        for _ in range(300):
            u = voice.utterance()
            u.write_nowait(ones(100))
            device.step(10)
            voice.clear_nowait(0)
            device.step(1)
        assert u.heard == 10
        assert old.heard == 500
        assert old.is_cleared


async def test_a_clear_from_another_thread_is_never_followed_by_what_was_cut() -> None:
    """Whenever it comes: between the look whether it was cut and the write there is none."""
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        u = voice.utterance()
        u.write_nowait(ones(100))
        look = voice._voice.notice_stop

        def look_and_be_cut() -> None:
            look()
            voice._voice.notice_stop = look
            thread = threading.Thread(target=voice.clear_nowait, args=(0,))
            thread.start()
            thread.join(0.05)  # it waits for the lock
            threads.append(thread)

        threads: list[threading.Thread] = []
        for write in (u.write_nowait, None):
            voice._voice.notice_stop = look_and_be_cut
            if write is None:
                u = voice.utterance()
                await u.write(ones(100))
            else:
                write(ones(100))
            threads[-1].join()
            device.step(1)
            assert voice.buffered == 0
            assert not device.step(64).any()


async def test_a_full_ring_refuses_all_of_it_and_says_so() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32, buffer=0.1)
        u = voice.utterance()
        assert u.write_nowait(ones(4000))
        with pytest.raises(WouldBlock, match=r"buffer="):
            u.write_nowait(ones(4000))
        with pytest.raises(anyio.WouldBlock):
            u.write_nowait(ones(4000).tobytes())
        assert (u.written, voice.buffered) == (4000, 4000)
        device.step(4000)
        assert u.write_nowait(ones(4000).tobytes())


async def test_ten_seconds_at_once() -> None:
    """As a server sends them: much faster than real time, without waiting."""
    device = ManualDevice()
    async with speaker_on(device, encoding=16) as speaker:
        voice = speaker.sample(rate=24000, encoding=16, buffer=15)
        u = voice.utterance()
        for _ in range(500):
            assert u.write_nowait(bytes(960))
        assert voice.buffered == 240_000
        device.step(48_000)
        assert u.heard == pytest.approx(24_000, abs=200)
        voice.clear_nowait()
        device.step(4800)
        assert voice.buffered == 0


async def test_one_without_a_word_is_over_at_once() -> None:
    async with speaker_on(ManualDevice(), encoding=32) as speaker:
        u = speaker.sample(encoding=32).utterance()
        assert (u.written, u.heard) == (0, 0)
        u.end()
        assert await u.finished()


async def test_a_stop_at_a_time_clears_too() -> None:
    device = ManualDevice()
    async with speaker_on(device, encoding=32) as speaker:
        voice = speaker.sample(encoding=32)
        u = voice.utterance()
        u.write_nowait(ones(5000))
        voice.stop(at=speaker.time + 0.01)
        device.step(2000)
        assert not u.write_nowait(ones(10))
        assert u.is_cleared
        assert u.heard == 480 + 240
        assert not await u.finished()


async def test_a_sample_that_is_gone_has_none() -> None:
    async with speaker_on(ManualDevice()) as speaker:
        voice = speaker.sample()
        await voice.aclose()
        with pytest.raises(StreamClosedError):
            voice.utterance()
