"""From names to devices, and the variables that stand in for the default."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from audiostream.device import names
from audiostream.device.base import Direction
from audiostream.device.virtual import FileDevice, LoopbackDevice, NullDevice
from audiostream.errors import FormatError, NoDeviceError
from audiostream.testing import ManualDevice
from tests.servers import silent_environment

ROOT = Path(__file__).resolve().parent.parent.parent

DIRECTIONS: tuple[Direction, ...] = ("output", "input")
VARIABLES = {"output": "AUDIOSTREAM_OUTPUT", "input": "AUDIOSTREAM_INPUT"}


@pytest.fixture(autouse=True)
def hardware(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, str]]:
    """Notes what PortAudio would have been asked for."""
    asked: list[tuple[Any, str]] = []

    def find(name: Any, direction: str) -> Any:
        asked.append((name, direction))
        return ManualDevice()

    monkeypatch.setattr(names.portaudio, "find", find)
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    return asked


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_virtual_devices_have_their_names(
    direction: Direction, hardware: list[tuple[Any, str]]
) -> None:
    assert isinstance(names.find("null", direction), NullDevice)
    file = names.find("file:some/where.wav", direction)
    assert isinstance(file, FileDevice)
    assert (file.name, file.path) == ("file:some/where.wav", Path("some/where.wav"))
    loopback = names.find("loopback:a:b", direction)
    assert isinstance(loopback, LoopbackDevice)
    assert loopback.name == "loopback:a:b"
    manual = ManualDevice()
    assert names.find(manual, direction) is manual
    assert hardware == []


def test_a_file_may_be_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    file = names.find("file:~/a.wav", "output")
    assert isinstance(file, FileDevice)
    assert file.path == Path("/home/somebody/a.wav")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["default", "USB", "3", 3, 0, "", "null ", "Null: a card"])
def test_everything_else_is_hardware(
    direction: Direction, name: Any, hardware: list[tuple[Any, str]]
) -> None:
    names.find(name, direction)
    assert hardware == [(name, direction)]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_variable_stands_in_for_the_default(
    direction: Direction, monkeypatch: pytest.MonkeyPatch, hardware: list[tuple[Any, str]]
) -> None:
    variable = VARIABLES[direction]
    monkeypatch.setenv(variable, "null")
    assert isinstance(names.find("default", direction), NullDevice)
    monkeypatch.setenv(variable, "file:x.wav")
    assert isinstance(names.find("default", direction), FileDevice)
    assert hardware == []
    monkeypatch.setenv(variable, "USB")
    names.find("default", direction)
    names.find("other", direction)  # not the default: not concerned
    monkeypatch.setenv(variable, "")
    names.find("default", direction)
    monkeypatch.delenv(variable)
    monkeypatch.setenv(VARIABLES["input" if direction == "output" else "output"], "null")
    names.find("default", direction)
    assert [name for name, _ in hardware] == ["USB", "other", "default", "default"]


@pytest.mark.parametrize("name", [None, 1.0, True, b"null", ["null"], object()])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(FormatError, match='try "default" or "null"'):
        names.find(name, "output")


@pytest.mark.parametrize(
    ("name", "what"), [("file:", r"try file:PATH\.wav"), ("loopback:", "try loopback:NAME")]
)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_kind_without_a_name_says_what_is_missing(
    direction: Direction, name: str, what: str
) -> None:
    with pytest.raises(NoDeviceError, match=what):
        names.find(name, direction)


def test_listings_begin_with_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names.portaudio, "input_names", lambda: ["in"])
    monkeypatch.setattr(names.portaudio, "output_names", lambda: ["out", "more"])
    assert names.input_sources() == ["default", "in"]
    assert names.output_devices() == ["default", "out", "more"]


PROGRAM = """
import os, sys
from audiostream import AudioException, get_input, get_output
from audiostream.errors import NoDeviceError
ways = (get_output, "AUDIOSTREAM_OUTPUT"), (get_input, "AUDIOSTREAM_INPUT")
for open_one, variable in ways:
    try:
        open_one()
    except NoDeviceError as error:
        assert isinstance(error, AudioException)
        assert '"null"' in str(error) and variable in str(error), error
    else:
        sys.exit("it fell back to something")
    os.environ[variable] = "null"  # what the message says to try
    with open_one() as stream:
        print(stream.device_rate)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="silent_environment() is for Linux")
def test_without_any_device_the_message_names_the_ways_out(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=silent_environment(tmp_path),
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == "44100\n44100\n"
