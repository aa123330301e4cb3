"""What is written to a voice, as its ring takes it: encodings, channels, rates, in chunks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiostream.engine.capture import Capture
from audiostream.engine.conversion import Conversion
from audiostream.engine.output import Output
from audiostream.engine.resampler import resampler
from audiostream.engine.sample_decoding import decode
from audiostream.engine.sample_input import (
    Encoded,
    Samples,
    check_matrix,
    of_bytes,
    remixed,
    samples_of,
    spread,
)
from audiostream.errors import FormatError
from audiostream.pcm import NAMED, Format
from audiostream.realtime.compile.kernels import kernels
from audiostream.realtime.units import channel_matrix as remix

MONO, STEREO = Format(48000, 1, 32), Format(48000, 2, 32)


def noise(frames: int, channels: int, seed: int = 1) -> np.ndarray:
    """float32 (frames, channels)."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (frames, channels)).astype(np.float32)


def floats(samples: Samples, channels: int) -> np.ndarray:
    """As the ring takes it: float32 (frames, channels)."""
    return spread(kernels(), samples, channels).data.reshape(-1, channels)


def converted(conversion: Conversion, data: Any, channels: int, sizes: list[int]) -> np.ndarray:
    """Bytes or an array in chunks of so many frames, to the end."""
    width = 1 if isinstance(data, np.ndarray) else conversion.source.frame_bytes
    parts = []
    start = 0
    for size in sizes:
        chunk = data[start * width : (start + size) * width]
        start += size
        what = samples_of(chunk, conversion.source)
        if isinstance(what, memoryview):
            what = of_bytes(what, conversion.source)
        parts.append(floats(conversion.convert(what, what.frames), channels))
    assert start * width == len(data)
    parts.append(floats(conversion.flush(), channels))
    return np.concatenate(parts)


# --- arrays ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "full", "zero"),
    [
        ("u1", 128, 128),
        ("<i4", 2**31, 0),
        (">i4", 2**31, 0),
        (">i2", 2**15, 0),
        (">f4", 1, 0),
        ("<f8", 1, 0),
        (">f8", 1, 0),
    ],
)
def test_other_arrays_are_decoded_at_their_full_scale(dtype: str, full: int, zero: int) -> None:
    wanted = np.array([[-1.0, 0.0], [0.5, -0.25]])
    array = (wanted * full + zero).astype(dtype)
    what = samples_of(array, STEREO)
    assert isinstance(what, Encoded)
    assert what.frames == 2
    for frames in (2, 1, 0):
        got = what.first(frames)
        assert got.encoding == 32
        assert got.data.dtype == np.float32
        np.testing.assert_array_equal(got.data.reshape(-1, 2), wanted[:frames])


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32])
def test_what_compiled_code_reads_is_not_copied(dtype: Any) -> None:
    array = np.arange(6).reshape(3, 2).astype(dtype)
    what = samples_of(array, STEREO)
    assert isinstance(what, Samples)
    assert what.encoding == 8 * array.itemsize
    assert what.address == array.ctypes.data
    assert what.first(2).address == array.ctypes.data
    assert what.first(2).frames == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, ">i2"])
def test_arrays_in_any_order_in_memory_come_out_frame_by_frame(dtype: Any) -> None:
    frames = (noise(7, 2) * 100).astype(dtype)
    wanted = samples_of(frames, STEREO).first(7).data.ravel()  # type: ignore[union-attr]
    for view in (np.asfortranarray(frames), np.repeat(frames, 2, axis=0)[::2]):
        assert not view.flags.c_contiguous
        what = samples_of(view, STEREO)
        assert what.data.flags.c_contiguous  # type: ignore[union-attr]
        np.testing.assert_array_equal(what.first(7).data.ravel(), wanted)  # type: ignore[union-attr]


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.uint32, np.float16, bool, complex])
def test_arrays_without_a_full_scale_are_refused(dtype: Any) -> None:
    with pytest.raises(FormatError, match=r"array of .* cannot be written; try .*float32"):
        samples_of(np.zeros((4, 2), dtype), STEREO)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_arrays_of_another_shape_are_refused(dtype: Any) -> None:
    for shape in ((4,), (4, 3), (2, 4, 2)):
        with pytest.raises(FormatError, match=r"shape .* write shape \(frames, 2\)"):
            samples_of(np.zeros(shape, dtype), STEREO)


# --- encodings ---------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [8, 16, 32, *NAMED])
def test_bytes_of_every_encoding_become_what_they_decode_to(encoding: Any) -> None:
    source = Format(48000, 2, encoding)
    rng = np.random.default_rng(3)
    data = rng.integers(1, 60, 1200 * source.frame_bytes, np.uint8).tobytes()
    conversion = Conversion(kernels(), source, 48000, 2)
    assert conversion.is_plain
    assert not conversion.resamples
    got = converted(conversion, data, 2, [0, 1, 700, 499])
    np.testing.assert_array_equal(got, decode(data, source))


def test_only_what_is_taken_is_decoded() -> None:
    what = of_bytes(bytes(range(200)), Format(8000, 2, "ulaw"))
    assert isinstance(what, Encoded)
    assert what.data.nbytes == 200  # as it came
    conversion = Conversion(kernels(), Format(8000, 2, "ulaw"), 8000, 2)
    assert conversion.convert(what, 30).data.shape == (60,)


# --- channels ----------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    outputs=st.integers(1, 8),
    inputs=st.integers(1, 8),
    frames=st.integers(0, 40),
    encoding=st.sampled_from([8, 16, 32]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_matrix_sums_channels(
    outputs: int, inputs: int, frames: int, encoding: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    matrix = check_matrix(rng.uniform(-2, 2, (outputs, inputs)), outputs, inputs)
    scale = {8: 128, 16: 32768, 32: 1}[encoding]
    dtype = {8: np.int8, 16: np.int16, 32: np.float32}[encoding]
    source = (rng.uniform(-0.99, 0.99, (frames, inputs)) * scale).astype(dtype)
    got = remixed(kernels(), Samples(source, inputs, encoding), matrix)
    assert (got.channels, got.encoding, got.frames) == (outputs, 32, frames)
    wanted = source.astype(float) / scale @ matrix.astype(float).T
    np.testing.assert_allclose(got.data, wanted, atol=1e-5)
    # The plain form does the very same.
    plain = np.full((frames, outputs), 7, np.float32)
    block = (source.astype(np.float32) / np.float32(scale)).copy()
    remix.remix(
        plain.ctypes.data, matrix.ctypes.data, block.ctypes.data, frames, outputs, inputs
    )
    np.testing.assert_allclose(plain, got.data, atol=1e-6)


def test_a_matrix_is_a_copy_of_float32() -> None:
    mine = np.array([[1, 2], [3, 4]])
    got = check_matrix(mine, 2, 2)
    mine[:] = 0
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert got.tolist() == [[1, 2], [3, 4]]
    assert check_matrix(np.asfortranarray(got), 2, 2).flags.c_contiguous
    assert check_matrix([[0.5, 0.5]], 1, 2).tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    "matrix",
    [
        1.0,
        [1, 0],
        [[1, 0]],
        [[1], [0]],
        np.eye(3),
        "matrix",
        [[1, 0], [0]],
        [["a", "b"]] * 2,
        [],
    ],
)
def test_a_matrix_of_another_shape_is_refused(matrix: Any) -> None:
    with pytest.raises(FormatError, match=r"shape \(2, 2\), not .*try matrix=\[\[0.5, 0.5\]"):
        check_matrix(matrix, 2, 2)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 1e39])
def test_a_matrix_of_what_is_no_number_is_refused(wrong: float) -> None:
    with pytest.raises(FormatError, match=r"not finite; try 0 or 1"):
        check_matrix([[1, 0], [0, wrong]], 2, 2)


def test_a_matrix_takes_the_place_of_the_rule() -> None:
    block = noise(500, 2)
    swapped = Conversion(kernels(), STEREO, 48000, 2, matrix=[[0, 1], [1, 0]])
    assert not swapped.is_plain
    np.testing.assert_array_equal(converted(swapped, block, 2, [200, 300]), block[:, ::-1])
    to_one_side = Conversion(kernels(), MONO, 48000, 2, matrix=[[1], [0]])
    got = converted(to_one_side, block[:, :1], 2, [500])
    np.testing.assert_array_equal(got[:, 0], block[:, 0])
    assert not got[:, 1].any()
    down = Conversion(kernels(), Format(48000, 6, 32), 48000, 2, matrix=np.eye(2, 6))
    six = noise(50, 6)
    np.testing.assert_array_equal(converted(down, six, 2, [50]), six[:, :2])


# --- what is no number -------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
@pytest.mark.parametrize(("wrong", "taken"), [(np.nan, 0), (np.inf, 1), (-np.inf, -1)])
@pytest.mark.parametrize(
    ("rate", "quality"), [(48000, "high"), (44100, "high"), (44101, "high"), (32000, "soxr")]
)
def test_what_is_no_number_never_comes_to_a_filter_or_a_matrix(
    rate: int, quality: str, wrong: float, taken: float, dtype: str
) -> None:
    """Silence in its place, or full scale: its own sample, and what a filter has of it."""
    matrices = (None, [[1, 0], [0, 1]], [[0.5, 0.5], [0, 1]])
    for matrix in matrices[quality == "high" and rate == 48000 :]:
        got = []
        for value in (wrong, taken):
            block = np.full((3000, 2), 0.25)
            block[1500, 1] = value
            conversion = Conversion(
                kernels(), Format(rate, 2, 32), 48000, 2, quality=quality, matrix=matrix
            )
            got.append(converted(conversion, block.astype(dtype), 2, [1000, 2000]))
        np.testing.assert_array_equal(*got)


# --- rates -------------------------------------------------------------------------

CASES = st.fixed_dictionaries(
    {
        "rate": st.sampled_from([8000, 16000, 44100, 48000]),
        "source": st.sampled_from([8000, 24000, 44100, 48000]),
        "channels": st.integers(1, 3),
        "source_channels": st.integers(1, 3),
        "encoding": st.sampled_from([16, 32, "s24", "ulaw", "f64be"]),
        "quality": st.sampled_from(["high", "live"]),
        "with_matrix": st.booleans(),
    }
)


@settings(deadline=None, max_examples=80)
@given(CASES, st.lists(st.integers(0, 400), min_size=1, max_size=6))
def test_chunks_do_not_matter(case: dict[str, Any], sizes: list[int]) -> None:
    """And what comes out is decoded, mixed and resampled, in whatever order that is done."""
    source = Format(case["source"], case["source_channels"], case["encoding"])
    rng = np.random.default_rng(sum(sizes))
    frames = sum(sizes)
    if source.encoding == "f64be":
        data = rng.uniform(-1, 1, frames * source.channels).astype(">f8").tobytes()
    elif source.encoding == 32:
        data = noise(frames, source.channels).tobytes()
    else:
        data = rng.integers(0, 256, frames * source.frame_bytes, np.uint8).tobytes()
    matrix = None
    if case["with_matrix"]:
        matrix = rng.uniform(-1, 1, (case["channels"], source.channels))

    def conversion() -> Conversion:
        return Conversion(
            kernels(), source, case["rate"], case["channels"], case["quality"], matrix
        )

    got = converted(conversion(), data, case["channels"], sizes)
    whole = converted(conversion(), data, case["channels"], [frames])
    np.testing.assert_array_equal(got, whole)
    assert len(got) == math.ceil(frames * case["rate"] / source.rate)

    block = decode(data, source)
    if matrix is None:
        block = floats(Samples(block, source.channels, 32), case["channels"])
    else:
        block = (block @ matrix.T).astype(np.float32)
    if source.rate != case["rate"]:
        straight = resampler(
            kernels(), source.rate, case["rate"], case["channels"], case["quality"]
        )
        block = straight.resample_chunk(block, last=True)
    np.testing.assert_allclose(got, block, atol=2e-5)


def test_an_utterance_leaves_nothing_behind() -> None:
    block = noise(300, 1)
    conversion = Conversion(kernels(), Format(16000, 1, 32), 48000, 1, "live")
    first = converted(conversion, block, 1, [300])
    assert not conversion.is_under_way
    again = converted(conversion, block, 1, [100, 200])
    np.testing.assert_array_equal(again, first)
    conversion.convert(Samples(noise(50, 1, seed=9), 1, 32), 50)
    assert conversion.is_under_way
    conversion.clear()
    assert not conversion.is_under_way
    np.testing.assert_array_equal(converted(conversion, block, 1, [300]), first)


@settings(deadline=None, max_examples=60)
@given(CASES, st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 500)), max_size=12))
def test_what_is_taken_always_fits(case: dict[str, Any], steps: list[tuple[int, int]]) -> None:
    """A ring of 1,000 frames and what is held back, written to and read at random."""
    source = Format(case["source"], case["source_channels"], 32)
    conversion = Conversion(kernels(), source, case["rate"], case["channels"], case["quality"])
    limit, spare, queued = 1000, conversion.held_back(), 0
    for wanted, read in steps:
        frames = min(wanted, conversion.takes(limit - queued, spare))
        if frames:
            samples = Samples(noise(frames, source.channels), source.channels, 32)
            queued += conversion.convert(samples, frames).frames
        assert queued <= limit + spare
        queued -= min(read, queued)
    if not conversion.resamples:
        assert conversion.takes(limit - queued, spare) == limit - queued
    queued += conversion.flush().frames
    assert queued <= limit + spare
    assert conversion.takes(-5, spare) == 0


def test_what_is_held_back_is_left_its_place() -> None:
    conversion = Conversion(kernels(), Format(8000, 1, 32), 48000, 1)
    assert conversion.takes(60, 600) == 10
    assert conversion.takes(60, 0) == 8
    assert conversion.convert(Samples(noise(8, 1), 1, 32), 8).frames == 0
    assert conversion.takes(60, 600) == 10
    assert conversion.takes(60, 0) == 0


def test_a_ring_with_room_takes_something() -> None:
    """A voice that waits for room to come would otherwise wait for ever."""
    for quality in ("high", "live"):
        for rate in (8000, 44100):
            conversion = Conversion(kernels(), Format(rate, 1, 32), 48000, 1, quality)
            spare = conversion.held_back()
            taken = 0
            for _ in range(50):
                frames = conversion.takes(500, spare)
                assert frames > 0
                taken += frames
                conversion.convert(Samples(noise(frames, 1), 1, 32), frames)


def test_the_ratio_and_the_source_are_told() -> None:
    conversion = Conversion(kernels(), Format(8000, 1, "ulaw"), 48000, 2)
    assert conversion.ratio == 8000 / 48000
    assert conversion.source.encoding == "ulaw"
    assert conversion.resamples
    assert not conversion.is_plain
    assert Conversion(kernels(), STEREO, 48000, 2).held_back() == 0
    conversion.close()
    assert not conversion.resamples


def test_what_cannot_be_converted_is_refused_at_once() -> None:
    with pytest.raises(FormatError, match="quality='fast'"):
        Conversion(kernels(), STEREO, 48000, 2, "fast")
    with pytest.raises(FormatError, match="matrix"):
        Conversion(kernels(), STEREO, 48000, 2, matrix=[[1]])


@pytest.mark.parametrize("stream", [Output, Capture])
def test_devices_are_opened_by_number_alone(stream: Any) -> None:
    for encoding in ("s24", "ulaw", "s16"):
        with pytest.raises(FormatError, match=rf"sample\(encoding='{encoding}'\).*try 16"):
            stream(Format(48000, 1, encoding), 256, "null")
