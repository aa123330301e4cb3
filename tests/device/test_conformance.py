"""The public conformance suite on every device that needs no audio server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audiostream.device.wav import header
from audiostream.testing import DeviceConformance, ManualDevice
from audiostream.testing import DeviceConformance as Suite

PATHS = ("native", "python")
CHECKS = DeviceConformance.checks()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
class TestVirtual:
    @pytest.fixture(autouse=True)
    def _path(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AUDIOSTREAM_CALLBACK", path)

    def test_null(self, check) -> None:
        check(Suite("null"))

    @pytest.mark.parametrize("encoding", [8, 16, 32])
    def test_loopback(self, check, encoding: int) -> None:
        check(Suite("loopback:conformance", encoding=encoding, echo=True))

    def test_file_speaker(self, check, tmp_path: Path) -> None:
        check(Suite(f"file:{tmp_path / 'out.wav'}", input=False))

    def test_file_microphone(self, check, tmp_path: Path) -> None:
        path = tmp_path / "in.wav"
        samples = np.zeros((48000 * 30, 2), np.int16)
        path.write_bytes(header(48000, 2, 16, samples.nbytes) + samples.tobytes())
        check(Suite(f"file:{path}", output=False))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("rate", "channels", "latency"), [(None, None, 0.0), (44100, 1, 0.05), (96000, 6, 0.003)]
)
def test_manual(check, rate: int | None, channels: int | None, latency: float) -> None:
    device = ManualDevice(rate, channels, latency=latency)
    check(Suite(device, advance=lambda: device.step(100)))


def test_the_suite_has_teeth() -> None:
    """A device whose time stands still fails it."""
    device = ManualDevice()
    suite = Suite(device, advance=lambda: None, limit=0.05)
    with pytest.raises(AssertionError, match="callbacks come"):
        suite.check_start_stop()
