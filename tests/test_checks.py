"""One check for each kind of argument; what counts as audio, wherever it is written."""

from __future__ import annotations

import array
import ctypes
import os
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiostream import aio, compat
from audiostream.aio import sources
from audiostream.checks import (
    check_audio,
    check_callable,
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_path,
    check_times,
    shown,
)
from audiostream.errors import FormatError
from audiostream.sources.thread import ThreadSource
from audiostream.testing import ManualDevice
from tests.libpd.support import PATCHES


class Index:
    """An integer type of a user's own."""

    def __index__(self) -> int:
        return 5


class Unshown:
    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")


def check_size(value: Any) -> int:
    return check_integer(value, "size", "frames", least=1, most=9, hint="4")


# --- kinds of arguments ------------------------------------------------------------


@pytest.mark.parametrize("value", [5, np.int64(5), np.uint8(5), np.array(5), Index()])
def test_whatever_has_an_index_is_an_integer(value: Any) -> None:
    assert check_size(value) == 5
    assert type(check_size(value)) is int


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.True_,
        None,
        "5",
        b"5",
        5.0,
        np.float32(5),
        Decimal(5),
        5j,
        [5],
        np.array([5]),
        int,
    ],
)
def test_what_is_no_integer(value: Any) -> None:
    with pytest.raises(
        FormatError, match=r"size must be a whole number of frames, not .*try 4"
    ):
        check_size(value)


@pytest.mark.parametrize("value", [0, -1, 10, 2**70])
def test_integers_out_of_bounds(value: int) -> None:
    with pytest.raises(FormatError, match=r"^size=.* is outside 1 to 9 frames; try 4$"):
        check_size(value)


def test_bounds_and_hints_that_are_not_given() -> None:
    with pytest.raises(FormatError, match=r"size=<int.* is outside 1 to 9 frames"):
        check_size(-(10**5000))  # of more digits than Python prints
    assert check_integer(-(2**70), "size") == -(2**70)
    with pytest.raises(FormatError, match="size=0 is below 1; try 1"):
        check_integer(0, "size", least=1)
    with pytest.raises(FormatError, match="size=3 is outside 1 to 2; try 2"):
        check_integer(3, "size", least=1, most=2)
    with pytest.raises(FormatError, match=r"a whole number, not 1.5; try size=int\(...\)"):
        check_integer(1.5, "size")


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), Fraction(1, 2)])
def test_numbers(value: Any) -> None:
    assert check_number(value, "gain", 0, 1, "try 1.0") == 0.5
    assert type(check_number(value, "gain", 0, 1, "try 1.0")) is float
    assert check_number(Index(), "gain", 0, 9, "try 1.0") == 5.0


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            "1",
            b"1",
            True,
            np.True_,
            1j,
            [1],
            np.array([0.5]),
            Decimal(1),
            object(),
            float,
        ),
        *(float("nan"), float("inf"), np.float32("nan"), 1.5, -0.1, 10**400, Fraction(10**400)),
        *(2**70, Unshown()),
    ],
)
def test_what_is_no_number_or_out_of_bounds(value: Any) -> None:
    with pytest.raises(FormatError, match=r"^gain=.* is no number from 0 to 1; try 1.0$"):
        check_number(value, "gain", 0, 1, "try 1.0")


def test_flags_are_bools_and_nothing_else() -> None:
    for value in (True, False, np.True_, np.False_):
        assert check_flag(value, "muted") is bool(value)
    for value in (1, 0, None, "yes", "", np.int64(1), np.array([True])):
        with pytest.raises(FormatError, match=r"^muted=.* is no bool; try True or False$"):
            check_flag(value, "muted")


def test_choices_are_words() -> None:
    assert check_choice("wait", "way", ("wait", "go", "stop")) == "wait"
    for value in ("walk", None, ["wait"], {}, np.array(["wait", "go"]), b"wait"):
        with pytest.raises(
            FormatError, match=r"^way=.* is not known; try 'wait', 'go' or 'stop'$"
        ):
            check_choice(value, "way", ("wait", "go", "stop"))
    with pytest.raises(FormatError, match=r"try 'wait'$"):
        check_choice("go", "way", ("wait",))


def test_how_often() -> None:
    assert [check_times(value, "loop") for value in (True, np.True_)] == [None, None]
    assert [check_times(value, "loop") for value in (False, 0, 1, np.int64(3))] == [1, 1, 1, 3]
    for value in (-1, 1.0, None, "yes", 2**70, np.array([1, 2])):
        with pytest.raises(FormatError, match=r"^loop.*; try True, False or how many times"):
            check_times(value, "loop")


def test_what_can_be_called() -> None:
    assert check_callable(print, "notify", "of no arguments") is print
    with pytest.raises(FormatError, match="notify=3 cannot be called; try a function of no"):
        check_callable(3, "notify", "of no arguments")  # type: ignore[type-var]


def test_paths_are_of_any_bytes_that_a_file_name_has() -> None:
    for path in ("one.wav", b"one.wav", Path("one.wav")):
        assert check_path(path, "path", "...") == "one.wav"
    odd = os.fsdecode(b"caf\xe9.wav")
    assert check_path(odd, "path", "...") == odd
    for path in ("", "a\0b", "\ud800", None, 1, True, object(), ["a"]):
        with pytest.raises(FormatError, match=r'^path=.* is no path of a file; try "a.wav"$'):
            check_path(path, "path", '"a.wav"')


def test_a_value_is_shown_in_one_short_line() -> None:
    assert shown("a b") == "'a b'"
    assert shown("\ud800") == r"'\ud800'"
    assert shown(np.zeros((2, 2))) == "array([[0., 0.], [0., 0.]])"
    assert len(shown("x" * 1000)) == 80
    assert "x...x" in shown("x" * 1000)
    assert len(shown(["x" * 70] * 3)) == 80
    assert shown([0.5] * 10**6) == "[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, ...]"
    assert shown(bytes(10**6)).startswith(r"b'\x00\x00")
    assert shown(Unshown()).startswith("<Unshown")
    assert shown(10**5000).startswith("<int")


# --- what is audio -----------------------------------------------------------------

FLOATS = np.array([0.25, -0.5, 0.125, 0.0], np.float32)
INTEGERS = (FLOATS * 2**15).astype(np.int16)

TYPED = {
    "array of float": array.array("f", FLOATS.tolist()),
    "array of double": array.array("d", FLOATS.tolist()),
    "array of short": array.array("h", INTEGERS.tolist()),
    "view of float32": memoryview(FLOATS),
    "view of float64": memoryview(FLOATS.astype(np.float64)),
    "view of big-endian int16": memoryview(INTEGERS.astype(">i2")),
    "strided view": memoryview(np.repeat(FLOATS, 2))[::2],
    "ctypes float": (ctypes.c_float * 4)(*FLOATS.tolist()),
    "ctypes short": (ctypes.c_int16 * 4)(*INTEGERS.tolist()),
    "numpy": FLOATS,
}

RAW = {
    "bytes": INTEGERS.tobytes(),
    "bytearray": bytearray(INTEGERS.tobytes()),
    "view": memoryview(INTEGERS.tobytes()),
    "view of every other byte": memoryview(np.repeat(INTEGERS.view(np.uint8), 2))[::2],
    "view of signed bytes": memoryview(INTEGERS.view(np.int8)),
    "view of characters": memoryview(INTEGERS.tobytes()).cast("c"),
    "array of bytes": array.array("B", INTEGERS.tobytes()),
    "array of signed bytes": array.array("b", INTEGERS.tobytes()),
    "ctypes bytes": (ctypes.c_ubyte * 8)(*INTEGERS.tobytes()),
    "ctypes characters": (ctypes.c_char * 8)(*INTEGERS.tobytes()),
    "numpy bytes": np.bytes_(INTEGERS.tobytes()[:-2]) + b"\0\0",  # it drops zeros at its end
}

SINGLE = {
    "numpy float": np.float32(1),
    "numpy byte": np.int8(1),
    "numpy void": np.void(b"ab"),
    "numpy time": np.datetime64(1, "s"),
    "array of no dimension": np.array(1, np.int16),
    "ctypes float": ctypes.c_float(1),
}

released = memoryview(b"ab")
released.release()
NONE = {
    "text": "text",
    "numpy text": np.str_("text"),
    "number": 3,
    "None": None,
    "list": [0.5],
    "released view": released,
}


@pytest.mark.parametrize("name", TYPED)
def test_a_typed_buffer_is_an_array_of_its_items(name: str) -> None:
    taken = check_audio(TYPED[name])
    assert isinstance(taken, np.ndarray)
    scale = 2.0**15 if taken.dtype.kind == "i" else 1.0
    assert (taken / scale).tolist() == FLOATS.tolist()


@pytest.mark.parametrize("name", RAW)
def test_plain_bytes_are_bytes(name: str) -> None:
    taken = check_audio(RAW[name])
    assert isinstance(taken, memoryview)
    assert (taken.format, taken.ndim, bytes(taken)) == ("B", 1, INTEGERS.tobytes())


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_number_is_no_audio(name: str) -> None:
    with pytest.raises(FormatError, match=r"is a single number; try an array of shape"):
        check_audio(SINGLE[name])


@pytest.mark.parametrize("name", NONE)
def test_what_is_not_bytes_like_is_a_type_error(name: str) -> None:
    with pytest.raises(TypeError, match=r"^audio is .*; try"):
        check_audio(NONE[name])


def test_a_buffer_that_numpy_does_not_know() -> None:
    with pytest.raises(FormatError, match=r"buffer format '<P' cannot be written; try numpy"):
        check_audio((ctypes.c_void_p * 2)())


# Each writes 4 frames to something of 16 bits and one channel, and tells what was heard.


def by_write(data: Any) -> Any:
    def write(speaker: Any) -> None:
        sample = speaker.sample()
        sample.write_nowait(data)
        sample.end()

    return heard(write)


def by_utterance(data: Any) -> Any:
    def write(speaker: Any) -> None:
        utterance = speaker.sample().utterance()
        utterance.write_nowait(data)
        utterance.end()

    return heard(write)


def by_blocking_write(data: Any) -> Any:
    def write(speaker: Any) -> None:
        sample = compat.AudioSample()
        speaker.add_sample(sample)
        sample.play()
        sample.write(data)

    return heard(write)


def by_load(data: Any) -> Any:
    return heard(lambda speaker: speaker.load(data).play())


def heard(write: Callable[[Any], object]) -> Any:
    device = ManualDevice()
    with aio.get_output(8000, 1, device=device, buffersize=64) as speaker:
        write(speaker)
        return device.step(4)[:, 0]


def by_feed(data: Any) -> Any:
    device = ManualDevice()
    with aio.get_input(None, device, 8000, 1, buffersize=4) as mic:
        device.feed(data)
        device.step(4)
        return np.frombuffer(mic.engine.take_bytes(8), np.int16)


WAYS = [by_write, by_utterance, by_blocking_write, by_load, by_feed]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["array of float", "view of float32", "ctypes short", "numpy"])
def test_typed_buffers_are_heard_as_what_they_are(way: Callable[[Any], Any], name: str) -> None:
    assert way(TYPED[name]).tolist() == INTEGERS.tolist()


@pytest.mark.parametrize("way", [way for way in WAYS if way is not by_load])  # it takes files
@pytest.mark.parametrize("name", RAW)
def test_raw_bytes_are_in_the_encoding_of_where_they_go(
    way: Callable[[Any], Any], name: str
) -> None:
    assert way(RAW[name]).tolist() == INTEGERS.tolist()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SINGLE)
def test_single_numbers_are_refused(way: Callable[[Any], Any], name: str) -> None:
    with pytest.raises(FormatError, match="single number"):
        way(SINGLE[name])


@pytest.mark.parametrize("way", WAYS)
def test_typed_buffers_without_a_full_scale_are_refused(way: Callable[[Any], Any]) -> None:
    with pytest.raises(FormatError, match=r"int64|uint32|bool|dtype"):
        way(array.array("q", [1, 2, 3, 4]))
    with pytest.raises(FormatError, match=r"bool|dtype"):
        way(memoryview(np.zeros(4, np.bool_)))


@pytest.mark.parametrize("name", ["array of float", "bytes", "numpy"])
@pytest.mark.anyio
async def test_coroutines_write_them_too(name: str) -> None:
    data = {**TYPED, **RAW}[name]
    device = ManualDevice()
    async with aio.get_output(8000, 1, device=device, buffersize=64) as speaker:
        sample = speaker.sample()
        assert await sample.write(data) == len(data)
        assert (await sample.utterance().write(data)) is True
        assert await sample.write_from([data, data]) == 8
        assert device.step(16)[:, 0].tolist() == 4 * INTEGERS.tolist()


@pytest.mark.parametrize("wrong", SINGLE.values())
@pytest.mark.anyio
async def test_a_generators_single_number_is_refused(wrong: Any) -> None:
    class Single(sources.Source):
        async def get_bytes(self) -> Any:
            return wrong

    async with aio.get_output(8000, 1, device=ManualDevice()) as speaker:
        sample = speaker.sample()
        for source in (Single(), [wrong]):
            with pytest.raises(FormatError, match="single number"):
                await sample.write_from(source)


def test_a_thread_plays_typed_buffers() -> None:
    device = ManualDevice()
    with aio.get_output(8000, 1, device=device, buffersize=64) as speaker:
        chunks = [array.array("f"), array.array("f", FLOATS.tolist()), None]

        class Typed(ThreadSource):
            def get_bytes(self) -> Any:
                return chunks.pop(0)

        source = Typed(speaker)
        source.start()
        source.join(20)
        assert device.step(4)[:, 0].tolist() == INTEGERS.tolist()


def test_a_patch_hears_typed_buffers() -> None:
    pytest.importorskip("cypd", reason="the patch is played on the libpd in cypd")
    with sources.patch(PATCHES / "through.pd", 8000, 1, 1, carrier="cypd") as patch:
        heard = []
        for data in (TYPED["view of float32"], TYPED["ctypes short"], RAW["bytearray"]):
            patch.feed(data)
            heard.append(patch.play_on(128)[63:67, 0].tolist())
        assert heard == [heard[0]] * 3
        assert np.any(heard[0])
        with pytest.raises(FormatError, match="single number"):
            patch.feed(np.float32(1))
        with pytest.raises(TypeError, match="audio is bytes, not str"):
            patch.feed("text")


# --- the shapes of arrays ----------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((2, 480), r"write shape \(frames, 2\), which array\.T is"),
        ((480,), r"np\.column_stack\(\[array\] \* 2\), or make the sample with channels=1"),
        ((480, 3), r"make the sample with channels=3"),
        ((480, 1), r"make the sample with channels=1"),
        ((480, 480), r"write shape \(frames, 2\)$"),
        ((1, 480, 2), r"write shape \(frames, 2\)$"),
    ],
)
def test_advice_on_a_shape_never_garbles_it(shape: tuple[int, ...], advice: str) -> None:
    with aio.get_output(channels=2, device=ManualDevice()) as speaker:
        sample = speaker.sample()
        for data in (np.zeros(shape, np.float32), np.zeros(shape, np.int32)):
            with pytest.raises(FormatError, match=advice) as caught:
                sample.write_nowait(data)
            assert "reshape" not in str(caught.value)
        assert sample.written == 0


def test_advice_for_one_channel() -> None:
    with aio.get_output(channels=1, device=ManualDevice()) as speaker:
        for shape, advice in (((1, 480), r"array\.T"), ((480, 2), "channels=2")):
            with pytest.raises(FormatError, match=r"\(frames,\) or \(frames, 1\).*" + advice):
                speaker.sample().write_nowait(np.zeros(shape, np.float32))


@pytest.mark.parametrize("shape", [(2, 48000), (2, 50), (1, 9), (100, 65)])
def test_a_sound_of_more_channels_than_there_can_be(shape: tuple[int, int]) -> None:
    with aio.get_output(device=ManualDevice()) as speaker:
        with pytest.raises(FormatError, match=r"would have \d+ channels; .* try array\.T"):
            speaker.load(np.zeros(shape, np.float32))
        assert speaker.load(np.zeros(shape[::-1], np.float32)[:, :8][:9]).frames == min(
            9, shape[1]
        )


def test_a_sound_may_have_more_channels_than_frames() -> None:
    with aio.get_output(device=ManualDevice()) as speaker:
        assert speaker.load(np.zeros((1, 8), np.float32)).frames == 1
        assert speaker.load(np.zeros((12, 12), np.float32)).frames == 12
        for shape in ((3, 0), (2, 2, 2)):
            with pytest.raises(FormatError, match=r"channels|shape"):
                speaker.load(np.zeros(shape, np.float32))


# --- here and there ----------------------------------------------------------------


@pytest.mark.anyio
async def test_numpys_integers_are_good_where_pythons_are() -> None:
    device = ManualDevice(np.int64(8000), np.uint8(1), np.int16(64))  # type: ignore[arg-type]
    async with (
        aio.get_output(
            np.int64(8000), np.int32(1), device=device, voices=np.int64(8)
        ) as speaker,
        aio.get_input(None, device, np.int64(8000), buffersize=np.int64(80)) as mic,
    ):
        assert speaker.engine.voices == 8
        device.step(np.int64(800))
        assert len(await mic.read(np.int64(80))) == 160
        assert len(await mic.receive(np.int64(80))) == 80
        sound = speaker.load(np.full(4, 0.25, np.float32))
        sound.play(loop=np.int64(2))  # type: ignore[arg-type]
        assert (device.step(80) != 0).sum() == 8
        sound.play(loop=np.True_)  # type: ignore[arg-type]
        assert (device.step(80) != 0).sum() == 80


def test_a_name_of_no_device() -> None:
    for wrong in (None, 1.5, True, b"null", ["null"], "a\0b", "\ud800", "file:\ud800.wav"):
        with pytest.raises(FormatError, match=r'^device=.* is no device; try "default"'):
            aio.get_output(device=wrong)
        with pytest.raises(FormatError, match=r'^source=.* is no device; try "default"'):
            aio.get_input(source=wrong)  # type: ignore[arg-type]


def test_what_is_fed_to_a_manual_device_is_audio() -> None:
    device = ManualDevice()
    with aio.get_input(None, device, 8000, 2, buffersize=4) as mic:
        device.feed([[0.25, np.nan], [np.inf, -np.inf]])
        device.step(4)
        assert np.frombuffer(mic.engine.take_bytes(8), np.int16).tolist() == [
            8192,
            0,
            32767,
            -32768,
        ]
        for wrong in ([[1], [1, 2]], [["a", "b"]], b"abc", np.zeros((2, 3)), [10**400, 1]):
            with pytest.raises(FormatError):
                device.feed(wrong)


def test_a_source_is_given_an_output() -> None:
    for wrong in (None, "speaker", aio.AudioOutput):
        with pytest.raises(
            FormatError, match=r"^stream=.* is no output; try one from get_output"
        ):
            ThreadSource(wrong)  # type: ignore[arg-type]
