"""Gapless: what comes out is the concatenation of what went in, whatever happens.

Random writes, steps, cancellations, ends and clears on a manual device, against a model
that is written as simply as can be: a queue of frames and a fade.
"""

from __future__ import annotations

import math
from typing import Any

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiostream import aio
from audiostream.testing import ManualDevice
from tests.aio.support import Running, ramp, settle, spawn

RATE = 48000


class Model:
    """One voice, a block at a time."""

    def __init__(self, channels: int, period: int) -> None:
        self.channels = channels
        self.period = period
        self.queue: list[tuple[int, ...]] = []
        self.carry = b""
        self.sounding = False
        self.doomed = 0  # frames at the head of the queue that a clear has condemned
        self.fade = 0
        self.fade_left = 0
        self.heard = 0
        self.cleared = 0
        self.written = 0

    def took(self, data: bytes, frames: int, whole: bool) -> None:
        width = 2 * self.channels
        stream = self.carry + data
        used = frames * width
        rows = np.frombuffer(stream[:used], "<i2").reshape(frames, self.channels)
        self.queue += [tuple(row) for row in rows.tolist()]
        self.written += frames
        if whole:
            self.carry = stream[used:]
            assert len(self.carry) < width
        elif frames:
            self.carry = b""

    def end(self) -> None:
        if self.carry:
            width = 2 * self.channels
            self.took(bytes(width - len(self.carry)), 1, True)

    def clear(self, fade: int) -> None:
        self.carry = b""
        self.doomed = len(self.queue)
        self.fade = fade

    def block(self, frames: int) -> list[tuple[float, ...]]:
        out: list[tuple[float, ...]] = []
        if self.doomed:
            if not self.sounding:
                self.fade_left = 0
            elif self.fade_left == 0:
                self.fade_left = self.total = min(self.fade, self.doomed)
            while self.fade_left and len(out) < frames:
                self.fade_left -= 1
                factor = self.fade_left / self.total
                out.append(tuple(v * factor for v in self.queue.pop(0)))
                self.doomed -= 1
                self.heard += 1
            if self.fade_left:
                return out
            self.cleared += self.doomed
            del self.queue[: self.doomed]
            self.doomed = 0
            self.sounding = False
        count = min(frames - len(out), len(self.queue))
        out += self.queue[:count]
        del self.queue[:count]
        self.heard += count
        if count:
            self.sounding = True
        if len(out) < frames:
            self.sounding = False
            out += [(0,) * self.channels] * (frames - len(out))
        return out

    def step(self, frames: int) -> np.ndarray:
        out: list[tuple[float, ...]] = []
        while frames:
            count = min(frames, self.period)
            out += self.block(count)
            frames -= count
        return np.array(out, float).reshape(-1, self.channels)


class Write:
    """A write under way, and the data that it has still to take."""

    def __init__(self, running: Running, data: bytes) -> None:
        self.running = running
        self.data = data

    def account(self, written: int, model: Model) -> bool:
        """Tell the model what was taken since; False once the write is over."""
        frames = written - model.written
        used = max(frames * 2 * model.channels - len(model.carry), 0)
        complete = self.running.done and not self.running.scope.cancel_called
        # Only a write that ran to its end takes the part of a frame at its end.
        model.took(self.data if complete else self.data[:used], frames, complete)
        self.data = self.data[used:]
        return not self.running.done


def operations() -> Any:
    return st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(0, 900)),
            st.tuples(st.just("array"), st.integers(0, 300)),
            st.tuples(st.just("nowait"), st.integers(0, 900)),
            st.tuples(st.just("step"), st.integers(1, 300)),
            st.tuples(st.just("cancel"), st.just(0)),
            st.tuples(st.just("end"), st.just(0)),
            st.tuples(st.just("clear"), st.integers(0, 60)),
        ),
        max_size=30,
    )


async def play_out(ops: list[tuple[str, int]], channels: int, period: int, buffer: int) -> None:
    device = ManualDevice(rate=RATE, channels=channels, buffersize=period)
    model = Model(channels, period)
    number = 0
    async with (
        aio.get_output(RATE, channels, device=device) as speaker,
        anyio.create_task_group() as group,
    ):
        voice = speaker.sample(buffer=buffer / RATE)
        voice.ramp = 0  # nothing dies away where it runs dry
        under_way: Write | None = None

        async def account() -> None:
            """Tell the model what has been taken since the last look."""
            nonlocal under_way
            await settle()
            if under_way is not None and not under_way.account(voice.written, model):
                under_way = None
            assert voice.written == model.written
            assert voice.position == model.heard
            assert voice.cleared == model.cleared
            assert voice.buffered == voice.written - voice.position - voice.cleared

        async def step(frames: int) -> None:
            """Step by blocks, so that a waiting writer gets its turn in between."""
            while frames:
                count = min(frames, period)
                played, expected = device.step(count), model.step(count)
                assert np.abs(played - expected).max() <= 0.5 + 1e-6, (played, expected)
                await account()
                frames -= count

        for name, amount in ops:
            if name == "step":
                await step(amount)
            elif name == "cancel" and under_way is not None:
                under_way.running.scope.cancel()
            elif name == "clear":
                voice.clear_nowait(fade=amount / RATE)
                model.clear(amount)
                await settle()
                assert under_way is None or under_way.running.done  # released
                under_way = None
            elif under_way is not None:
                continue
            elif name == "end":
                voice.end()
                model.end()
            elif name == "nowait":
                data = ramp(number, amount).tobytes()[:amount]
                number += amount
                took = voice.write_nowait(data)
                model.took(data[:took], voice.written - model.written, True)
            elif name == "write" or (name == "array" and not model.carry):
                block = ramp(number, amount, channels)
                number += amount * channels
                data = block.tobytes() if name == "array" else block.tobytes()[:amount]
                what = block if name == "array" else data
                running = await spawn(group, lambda what=what: voice.write(what))
                under_way = Write(running, data)
            await account()
        for _ in range(2000):
            if under_way is None and not model.queue:
                break
            await step(period)
        assert under_way is None
        assert not model.queue


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=60, deadline=None)
@given(
    ops=operations(),
    channels=st.integers(1, 3),
    period=st.integers(1, 130),
    buffer=st.integers(1, 400),
)
def test_what_comes_out_is_what_went_in(
    backend: str, ops: list[tuple[str, int]], channels: int, period: int, buffer: int
) -> None:
    anyio.run(play_out, ops, channels, period, buffer, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=40, deadline=None)
@given(
    ops=operations(),
    rate=st.sampled_from([8000, 16000, 22050, 44100, 96000]),
    period=st.integers(16, 130),
)
def test_counts_add_up_through_a_resampler(
    backend: str, ops: list[tuple[str, int]], rate: int, period: int
) -> None:
    async def main() -> None:
        device = ManualDevice(rate=RATE, channels=1, buffersize=period, latency=0.002)
        async with aio.get_output(rate, 1, device=device) as speaker:
            voice = speaker.sample(buffer=0.02)
            last = (0, 0, 0)
            put_in = 0
            for name, amount in ops:
                if name in ("write", "array", "nowait"):
                    put_in += voice.write_nowait(ramp(0, amount))
                elif name == "step":
                    device.step(amount)
                elif name == "clear":
                    voice.clear_nowait(amount / RATE)
                elif name == "end":
                    voice.end()
                now = (voice.written, voice.position, voice.cleared)
                assert now[0] == put_in
                assert voice.buffered >= 0
                assert all(a <= b for a, b in zip(last, now, strict=True))
                last = now
            voice.end()
            device.step(math.ceil(RATE * 0.1))
            assert voice.buffered == 0
            assert voice.position + voice.cleared == voice.written == put_in
            if not any(name == "clear" for name, _ in ops):
                assert voice.position == put_in

    anyio.run(main, backend=backend)
