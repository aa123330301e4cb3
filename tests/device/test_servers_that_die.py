"""Sound servers that are killed, restarted and frozen under one process, several times.

The process must not be aborted, must play again once the server does, and gives back what it
took.  ``AUDIOSTREAM_ROUNDS=10`` does each of it ten times; the last line that each test prints
(``pytest -s``) is what the process held after each round.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audiostream.device.portaudio.stderr_filter import audible
from tests.servers import JackServer, Program, PulseServer, Server

ROUNDS = int(os.environ.get("AUDIOSTREAM_ROUNDS", "2"))

# Carries out the commands on its stdin, and answers on its stdout.
SOURCE = """
import gc, json, os, sys, time, warnings
from audiostream import AudioSample, get_output
from audiostream.device import portaudio
from audiostream.engine.watchdog import WATCHDOG
from audiostream.errors import AudioException

name = sys.argv[1]
portaudio.HOST.limit = 0.5

def until(condition, seconds=8.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()

def play():
    global speaker
    speaker = get_output(rate=48000, channels=2, buffersize=512, device=name)
    sample = AudioSample()
    speaker.add_sample(sample)
    sample.play()
    return until(lambda: speaker.stats.callbacks > 5)

def close():
    global speaker
    speaker.close()
    speaker = None

def lists():
    names = portaudio.output_names()
    portaudio.HOST.outdated()
    return any(name in found for found in names)

def no_copies():
    portaudio.HOST._copy.library._original = None

def free():
    # Whether all that hung has returned, and nothing is open or abandoned.
    host = portaudio.HOST
    copy = host._copy
    return until(lambda: not copy.stuck and not copy.streams)

def settled():
    # On a busy machine a list may take longer than the limit, and PortAudio is not there then.
    return lists() and not portaudio.HOST._lost

def state():
    until(settled)
    gc.collect()
    with open("/proc/self/status") as status:
        anonymous = next(int(line.split()[1]) for line in status if "RssAnon" in line)
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "kilobytes": anonymous,
        "kept": len(portaudio.HOST._kept) + len(WATCHDOG._kept),
    }

for line in sys.stdin:
    try:
        answer = globals()[line.strip()]()
    except AudioException as error:
        answer = type(error).__name__ + ": " + str(error)
    print(json.dumps(answer), flush=True)
"""


Says = Callable[[str], Any]
"""Has the program do something, and returns what it answers."""


class Player:
    """A program that plays to a device of a server, and carries out commands."""

    def __init__(self, server: Server, name: str, limit: float = 60.0) -> None:
        self.program = Program(SOURCE, server.environment, name, limit=limit * ROUNDS)

    def __enter__(self) -> Says:
        self.program.__enter__()
        return self.does

    def does(self, what: str) -> Any:
        self.program.say(what)
        return json.loads(self.program.hear())

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                assert self.program.process.stdin is not None
                self.program.process.stdin.close()
                assert self.program.finish() == 0
                # PortAudio's thread says that PulseAudio went, and has no hook for it.
                assert audible(self.program.errors.encode()) == b""
        finally:
            self.program.__exit__(*error)


@pytest.fixture(params=[PulseServer, JackServer], ids=["pulse", "jack"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A server of each kind, and a device of it."""
    with request.param(tmp_path) as server:
        yield server, "loopback" if request.param is JackServer else "pulse"


@pytest.fixture
def jack(tmp_path: Path) -> Iterator[JackServer]:
    with JackServer(tmp_path) as server:
        yield server


def plays(does: Says) -> None:
    """Play, stop, and list, all of which must work."""
    assert does("play") is True
    assert does("close") is None
    assert does("lists") is True


def held(rounds: list[dict[str, int]], lost: int = 0) -> None:
    """Check what the process holds after each round, the first of which settles it in.

    Each loses so many copies of PortAudio for good.
    """
    print(*rounds, sep="\n")
    first, last, more = rounds[0], rounds[-1], len(rounds) - 1
    assert last["descriptors"] <= first["descriptors"]
    assert last["threads"] <= first["threads"]
    assert last["kept"] - first["kept"] <= lost * more
    # The allocator settles for some rounds; each opening and listing costs ALSA 10 KB or so.
    assert last["kilobytes"] - first["kilobytes"] < 6000 + (100 + 400 * lost) * more


def test_a_server_that_freezes_while_a_stream_closes(served: tuple[Server, str]) -> None:
    server, name = served
    rounds = []
    with Player(server, name) as does:
        for _ in range(ROUNDS):
            plays(does)
            assert does("play") is True
            server.freeze()
            assert does("close") is None
            assert does("lists") is True  # as far as it is known
            answer = does("play")
            assert answer.startswith(("TimeLimitError", "DeviceError")), answer
            server.thaw()
            assert does("free") is True
            plays(does)
            rounds.append(does("state"))
    held(rounds)


def test_jack_is_killed_under_a_stream_and_restarted(jack: JackServer) -> None:
    rounds = []
    with Player(jack, "loopback") as does:
        for number in range(ROUNDS):
            plays(does)
            assert does("play") is True
            jack.kill()
            if number % 2:
                assert does("lists") is False
            assert does("close") is None
            if number % 2:
                assert does("play").startswith("NoDeviceError")
            jack.start()
            plays(does)
            rounds.append(does("state"))
    held(rounds, lost=1)


def test_jack_is_killed_under_nothing_but_a_list_and_restarted(jack: JackServer) -> None:
    rounds = []
    with Player(jack, "loopback") as does:
        for number in range(ROUNDS):
            assert does("lists") is True
            jack.kill()
            if number % 2:
                assert does("lists") is False
            jack.start()
            assert does("lists") is True
            rounds.append(does("state"))
        plays(does)
    held(rounds, lost=1)


def test_jack_is_killed_while_it_is_frozen(jack: JackServer) -> None:
    rounds = []
    with Player(jack, "loopback") as does:
        for _ in range(ROUNDS):
            assert does("play") is True
            jack.freeze()
            assert does("close") is None
            assert does("play").startswith(("TimeLimitError", "DeviceError"))
            jack.kill()
            jack.start()
            plays(does)
            rounds.append(does("state"))
    held(rounds, lost=1)


@pytest.mark.parametrize("what", ["lists", "play"])
@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_leaving_after_jack_has_gone_is_clean(jack: JackServer, what: str, fault: str) -> None:
    with Player(jack, "loopback") as does:
        assert does(what) is True
        getattr(jack, fault)()


def test_no_second_copy_is_an_error_and_no_crash(jack: JackServer) -> None:
    """As where PyAudio's PortAudio cannot be copied."""
    with Player(jack, "loopback") as does:
        plays(does)
        assert does("no_copies") is None
        jack.kill()
        for _ in range(2):
            assert "cannot be loaded a second time" in does("lists")
            assert "restart this program" in does("play")
        jack.start()
        assert "restart this program" in does("play")
