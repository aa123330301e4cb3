"""The documented Pure Data patch: heard, steered and asked while it plays."""

from __future__ import annotations

import gc
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from audiostream import AudioOutput
from audiostream.errors import FormatError, PatchClosedError, PatchError, PatchWarning
from audiostream.libpd.backends import Backends
from audiostream.sources.puredata import PatchSource
from audiostream.sources.thread import ThreadSource
from audiostream.testing import ManualDevice
from tests.compat.support import LIMIT, eventually, ramp, sample_voice
from tests.libpd.support import PATCHES
from tests.sources.signals import pitch
from tests.sources.support import OpenOutput, full, played, told

pytest.importorskip("cypd", reason="patches are played on the libpd in cypd")

Open = Callable[..., PatchSource]


@pytest.fixture
def open_patch() -> Iterator[Open]:
    """A source of one of the patches of tests/libpd; all are closed in the end."""
    with ExitStack() as stack:

        def open_patch(stream: AudioOutput, name: str, **options: Any) -> PatchSource:
            options.setdefault("carrier", "cypd")
            source = PatchSource(stream, PATCHES / f"{name}.pd", **options)
            return stack.enter_context(closing(source))

        yield open_patch


# -------------------------------------------------------------------------------- sound


def test_what_it_is(output: OpenOutput, open_patch: Open) -> None:
    source = open_patch(output(rate=22050, channels=1), "sine")
    assert isinstance(source, ThreadSource)
    assert source.patch == str(PATCHES / "sine.pd")
    assert (source.rate, source.channels, source.inputs) == (22050, 1, 0)
    assert not source.is_alive()


@pytest.mark.parametrize(
    ("rate", "channels", "buffersize"),
    [(44100, 2, 1024), (48000, 1, 64), (22050, 3, 333), (96000, 2, 1000), (8000, 1, 17)],
)
def test_an_oscillator_is_heard_at_its_frequency(
    output: OpenOutput,
    device: ManualDevice,
    open_patch: Open,
    rate: int,
    channels: int,
    buffersize: int,
) -> None:
    stream = output(rate=rate, channels=channels, buffersize=buffersize)
    source = open_patch(stream, "sine")
    source.start()
    heard = played(stream, device, 2 * rate, source, step=240)
    for channel in heard.T[:2]:
        assert pitch(channel, rate) == pytest.approx(440, abs=0.1)
        assert np.abs(channel).max() > 32700
    assert stream.stats.starved == 0


def test_it_is_heard_bit_for_bit_and_stops_and_goes_on(
    output: OpenOutput, device: ManualDevice, open_patch: Open
) -> None:
    stream = output(rate=48000, encoding=32)
    source = open_patch(stream, "six")
    assert source.render(0.01).shape == (480, 2)  # offline, before it plays
    source.start()
    heard = played(stream, device, 4800, source)
    source.stop()
    source.join(LIMIT)
    assert not source.is_alive()
    assert np.array_equal(heard, open_patch(stream, "six").render(0.11)[480:])
    device.step(4800)
    assert not device.step(480).any()
    source.start()
    assert played(stream, device, 480, source).any()


def test_by_hand_it_makes_bytes_of_the_outputs(output: OpenOutput, open_patch: Open) -> None:
    stream = output(rate=48000)
    source, other = open_patch(stream, "six"), open_patch(stream, "six")
    data = np.frombuffer(source.get_bytes(), np.int16).reshape(-1, 2)
    assert np.abs(data / 32768 - other.render(len(data) / 48000)).max() <= 1 / 32768


def test_sixteen_play_at_once(
    output: OpenOutput, device: ManualDevice, open_patch: Open
) -> None:
    stream = output(rate=48000, channels=1, encoding=32)
    sources = [open_patch(stream, "sine") for _ in range(16)]
    for number, source in enumerate(sources):
        source.send("freq", 300 + 100 * number)
        sample_voice(stream, source).set_gain(1 / 16)
        source.start()
    heard = played(stream, device, 48000, *sources)[:, 0]
    assert stream.stats.starved == 0
    spectrum = np.abs(np.fft.rfft(heard)) * 2 / len(heard)
    assert np.flatnonzero(spectrum > 0.03).tolist() == [300 + 100 * n for n in range(16)]


@pytest.mark.parametrize("inputs", [1, 2])
def test_a_microphone_is_heard(
    output: OpenOutput, device: ManualDevice, open_patch: Open, inputs: int
) -> None:
    stream = output(rate=48000, channels=inputs)
    source = open_patch(stream, "through", inputs=inputs)
    data = ramp(3000, inputs)
    for at in range(0, 3000, 300):
        source.feed(data[at : at + 300].tobytes())
    source.start()
    heard = played(stream, device, 4800, source)
    assert np.array_equal(heard[63:3063], data)
    assert not heard[3063:].any()
    with pytest.raises(FormatError):
        source.feed(b"odd")


# ----------------------------------------------------------------------------- messages


@pytest.mark.parametrize("ahead", [256, 2400])
def test_a_float_changes_the_pitch_within_the_limit(
    output: OpenOutput, device: ManualDevice, open_patch: Open, ahead: int
) -> None:
    stream = output(rate=48000, channels=1, encoding=32, buffersize=64)
    source = open_patch(stream, "sine", ahead=ahead)
    latency = ahead + source.block + 64 + 64  # Pd's own block of 64, too
    source.start()
    played(stream, device, 4800, source, step=64)
    assert source.send("freq", 0)  # it stands still: every frame is as the one before
    played(stream, device, latency, source, step=64)
    assert np.ptp(played(stream, device, 640, source, step=64)) == 0
    assert source.send("freq", 660)
    played(stream, device, latency, source, step=64)
    heard = played(stream, device, 48000, source, step=64)
    assert pitch(heard[:, 0], 48000) == pytest.approx(660, abs=0.1)


def test_messages_come_while_it_plays(
    output: OpenOutput, device: ManualDevice, open_patch: Open
) -> None:
    stream = output(rate=48000, channels=1)
    source = open_patch(stream, "talk")
    messages = source.messages("count")
    assert source.send("run", 1)
    source.start()
    played(stream, device, 9600, source)
    got = [message.atoms[0] for message in messages.drain()]
    assert len(got) >= 20
    assert got == list(range(len(got)))


def test_messages_are_iterated_on_any_loop(
    output: OpenOutput, open_patch: Open, anyio_backend: str
) -> None:
    source = open_patch(output(), "talk")
    heard: list[Any] = []
    subscribed = threading.Event()

    async def listen() -> None:
        messages = source.messages("out")
        subscribed.set()
        async for message in messages:
            heard.append(message.atoms)

    thread = threading.Thread(target=lambda: anyio.run(listen, backend=anyio_backend))
    thread.start()
    assert subscribed.wait(LIMIT)
    for number in range(100):
        source.send("in", number)
    eventually(lambda: len(heard) == 100)
    source.close()
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert heard == [(float(number),) for number in range(100)]


def test_prints_midi_and_arrays(output: OpenOutput, open_patch: Open) -> None:
    stream = output()
    talk = open_patch(stream, "talk")
    assert talk.prints.drain() == ["print: hello there"]
    midi = open_patch(stream, "midi")
    events = midi.midi()
    midi.note_on(0, 60, 100)
    assert ("note_on", (60, 100)) in [(event.kind, event.values) for event in events.drain()]
    table = open_patch(stream, "table")
    table.arrays["wave"][:] = np.arange(100, dtype=np.float32)
    assert np.asarray(table.arrays["wave"][:]).tolist() == list(range(100))


# ----------------------------------------------------------------------------- lifetime


def test_closing_ends_it_silently(
    output: OpenOutput, device: ManualDevice, open_patch: Open
) -> None:
    stream = output()
    source = open_patch(stream, "sine")
    with told() as errors:
        source.start()
        eventually(lambda: full(stream, source))
        source.close()
        source.close()
        source.join(LIMIT)
        assert not source.is_alive()
    assert source.closed
    assert not errors
    device.step(4096)
    assert not device.step(4096).any()
    with pytest.raises(PatchClosedError):
        source.start()
    with pytest.raises(PatchClosedError):
        source.send("freq", 1)


def test_it_is_a_context(output: OpenOutput) -> None:
    with PatchSource(output(), str(PATCHES / "sine.pd"), carrier="cypd") as source:
        source.start()
    source.join(LIMIT)
    assert source.closed
    assert not source.is_alive()


def test_one_that_is_dropped_gives_its_voice_back(
    output: OpenOutput, device: ManualDevice
) -> None:
    stream = output(voices=2)
    for number in range(50):
        source = PatchSource(stream, PATCHES / "sine.pd", carrier="cypd")
        if number % 2:
            source.start()
            source.stop()
            source.join(LIMIT)
        del source
        gc.collect()
        eventually(lambda: not stream.engine.attached)
        device.step(1024)


def test_what_cannot_be_opened(output: OpenOutput, open_patch: Open, tmp_path: Path) -> None:
    stream = output()
    with pytest.raises(PatchError, match="nowhere"):
        open_patch(stream, "nowhere")
    bad = tmp_path / "bad.pd"
    bad.write_bytes(b"\0no patch")
    with pytest.raises(PatchError):
        PatchSource(stream, bad, carrier="cypd")
    with pytest.raises(PatchError):
        open_patch(stream, "missing", strict=True)
    with pytest.warns(PatchWarning):
        open_patch(stream, "missing")
    with pytest.warns(PatchWarning, match="dac~"):
        open_patch(stream, "silent")
    with pytest.raises(FormatError):
        open_patch(stream, "sine", ahead="much")
    stream.close()
    before = len(stream.engine.attached)
    with pytest.raises(Exception, match="closed"):
        open_patch(stream, "sine")
    assert len(stream.engine.attached) == before


def test_pylibpds_own_functions_steer_it(
    output: OpenOutput,
    device: ManualDevice,
    open_patch: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = importlib.import_module("tests.libpd.stand_in")
    monkeypatch.setattr("audiostream.libpd.patch.BACKENDS", Backends())
    monkeypatch.setitem(sys.modules, "pylibpd", module)
    stream = output(rate=48000, channels=1)
    source = open_patch(stream, "sine", carrier=None)
    assert source.carrier == "pylibpd"
    source.start()
    played(stream, device, 4800, source)
    module.libpd_float("freq", 523.0)
    played(stream, device, 9600, source)
    heard = played(stream, device, 48000, source)
    assert pitch(heard[:, 0], 48000) == pytest.approx(523, abs=0.1)
