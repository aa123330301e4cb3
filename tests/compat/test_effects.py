"""Effects of a blocking sample, and generators in blocking code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audiostream import AudioSample, get_output, kernel
from audiostream.errors import KernelError
from audiostream.testing import ManualDevice


@kernel
def times(block, level=0.5):
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            block[i, c] *= level[i]


@kernel
def refused(block):
    print(block[0, 0])


@kernel
def half(block):
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            block[i, c] = 0.5


ONES = np.ones(2048, np.float32)


@pytest.fixture
def device() -> ManualDevice:
    return ManualDevice()


@pytest.fixture
def output(device: ManualDevice) -> Any:
    with get_output(
        rate=48000, channels=1, encoding=32, buffersize=64, device=device
    ) as opened:
        yield opened


def test_effects_stay_a_samples_own(device: ManualDevice, output: Any) -> None:
    sample = AudioSample()
    fx = times()
    sample.effects.append(fx)
    output.add_sample(sample)
    sample.play()
    sample.write(ONES)
    np.testing.assert_array_equal(device.step(64), 0.5)
    sample.effects = []
    device.step(320)
    np.testing.assert_array_equal(device.step(64), 1.0)
    sample.effects = [fx]
    device.step(320)
    np.testing.assert_array_equal(device.step(64), 0.5)
    output.remove_sample(sample)
    device.step(640)
    assert list(sample.effects) == [fx]
    output.add_sample(sample)
    sample.play()
    sample.write(ONES)
    np.testing.assert_array_equal(device.step(64), 0.5, "wet from the first frame")


def test_a_refusal_leaves_the_sample_where_it_was(output: Any) -> None:
    sample = AudioSample()
    sample.effects.append(refused())
    with pytest.raises(KernelError, match="print"):
        output.add_sample(sample)
    sample.effects.clear()
    output.add_sample(sample)
    with pytest.raises(KernelError, match="print"):
        sample.effects.append(refused())
    assert len(sample.effects) == 0


def test_a_subclass_has_its_own_attribute(device: ManualDevice, output: Any) -> None:
    class Old(AudioSample):
        def __init__(self) -> None:
            self.effects = "sparkles"

    class Older(AudioSample):
        effects = 5

    class Newer(AudioSample):
        def __init__(self) -> None:
            self.effects = [times()]

    assert Old().effects == "sparkles"
    assert Older().effects == 5
    for sample in (Old(), Older()):
        output.add_sample(sample)
        sample.play()
        sample.write(ONES[:64])
        np.testing.assert_array_equal(device.step(64), 1.0)
        output.remove_sample(sample)
    newer = Newer()
    output.add_sample(newer)
    newer.play()
    newer.write(ONES)
    device.step(640)
    np.testing.assert_array_equal(device.step(64), 0.5)


def test_a_generator_is_compiled_in_place(device: ManualDevice, output: Any) -> None:
    osc = half()
    playing = output.play(osc, at=output.time + 32 / 48000)
    np.testing.assert_array_equal(device.step(64)[:, 0], np.repeat([0, 0.5], 32))
    playing.stop()
    device.step(640)
    assert playing.is_finished
    with pytest.raises(KernelError, match="print"):
        output.play(refused())
    fx = times()
    fx.prepare(output)
    output.play(osc, effects=[fx])
    np.testing.assert_array_equal(device.step(64), 0.25)
