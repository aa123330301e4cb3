"""The blocking everyday functions; most of what they do is tested in tests/aio."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import audiostream
from audiostream import AudioException, everyday
from audiostream.aio import background
from audiostream.engine.watchdog import WATCHDOG
from audiostream.errors import AudioTimeoutError, FormatError, StreamClosedError
from audiostream.testing import ManualDevice
from tests.compat.support import eventually, ramp
from tests.compat.test_reading import Reader

ROOT = Path(__file__).resolve().parent.parent


def stepped(
    device: ManualDevice, condition: Callable[[], object], frames: int = 64
) -> np.ndarray:
    """Step a device until something is so; what was heard but silence, float32 (frames,)."""
    blocks = [np.zeros(0, np.float32)]

    def step() -> object:
        blocks.append(device.step(frames)[:, 0])
        return condition()

    eventually(step)
    heard = np.concatenate(blocks)
    return heard[heard != 0]


def floats(sound: np.ndarray) -> np.ndarray:
    return (sound / np.float32(32768)).astype(np.float32)


def test_play_returns_when_it_was_heard() -> None:
    device = ManualDevice()
    player = Reader(lambda: audiostream.play(ramp(3000), 48000, device=device))
    heard = stepped(device, lambda: not player.is_alive())
    assert player.finish() is None
    assert np.array_equal(heard, floats(ramp(3000))[:, 0])
    assert not WATCHDOG.open_streams()


def test_a_handle_waits_and_stops() -> None:
    device = ManualDevice()
    handle = audiostream.play(ramp(96000), 48000, device=device, wait=False)
    stepped(device, lambda: handle.position > 0.1)
    with pytest.raises(AudioTimeoutError, match="stop"):
        handle.wait(0.001)
    with pytest.raises(FormatError, match="timeout"):
        handle.wait(-1)
    assert not handle.is_finished
    handle.stop()
    assert handle.wait(10) is False
    assert handle.is_finished
    assert not WATCHDOG.open_streams()
    heard = audiostream.play(ramp(300), 48000, device=device, wait=False)
    stepped(device, lambda: heard.is_finished)
    assert heard.wait() is True


def test_one_that_is_stopped_at_once_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for _ in range(20):
        handle = audiostream.record_to(path, source=ManualDevice(), wait=False)
        handle.stop()
        handle.wait(10)
        player = audiostream.play(path, device=ManualDevice(), wait=False)
        player.stop()
        player.wait(10)
    assert not WATCHDOG.open_streams()
    assert soundfile.info(path).samplerate == 48000


def test_an_array_is_played_as_it_was() -> None:
    device = ManualDevice()
    sound = ramp(3000)
    handle = audiostream.play(sound, 48000, device=device, wait=False)
    sound[:] = 0
    heard = stepped(device, lambda: handle.is_finished)
    assert np.array_equal(heard, floats(ramp(3000))[:, 0])


def test_record() -> None:
    device = ManualDevice()
    recorder = Reader(lambda: audiostream.record(0.1, source=device, dtype="int16"))
    eventually(WATCHDOG.open_streams)
    device.feed(ramp(5000))
    stepped(device, lambda: not recorder.is_alive())
    assert np.array_equal(recorder.finish(), ramp(4800))


def test_record_to(tmp_path: Path) -> None:
    device = ManualDevice()
    path = tmp_path / "a.flac"
    recorder = Reader(lambda: audiostream.record_to(path, seconds=0.1, source=device))
    eventually(WATCHDOG.open_streams)
    device.feed(floats(ramp(5000)))
    stepped(device, lambda: not recorder.is_alive())
    assert recorder.finish() == 4800
    sound, _ = soundfile.read(path, dtype="int16", always_2d=True)
    assert np.array_equal(sound, ramp(4800))


def test_a_recording_is_stopped(tmp_path: Path) -> None:
    device = ManualDevice()
    path = tmp_path / "a.wav"
    handle = audiostream.record_to(path, source=device, wait=False)
    eventually(WATCHDOG.open_streams)
    stepped(device, lambda: handle.position > 0.5, 480)
    handle.stop()
    frames = handle.wait()
    assert frames == soundfile.info(path).frames >= 24000


def test_playrec() -> None:
    device = ManualDevice()
    sound = floats(ramp(2000))
    player = Reader(lambda: audiostream.playrec(sound, 48000, device=device, source=device))
    eventually(lambda: len(WATCHDOG.open_streams()) == 2)
    stepped(device, lambda: not player.is_alive(), 480)
    assert player.finish().shape == (2000, 1)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("what", ["play", "record_to"])
def test_ctrl_c_ends_it_and_closes_what_it_has_opened(tmp_path: Path, what: str) -> None:
    device = ManualDevice()
    path = tmp_path / "a.wav"
    call = (
        partial(audiostream.play, ramp(100), 48000, device=device, loop=True)
        if what == "play"
        else partial(audiostream.record_to, path, source=device)
    )

    def interrupt() -> None:
        if what == "play":
            eventually(lambda: device.step(480).any())
        else:
            eventually(lambda: [s for s in WATCHDOG.open_streams() if s.word("armed")])
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        call()
    thread.join()
    assert not WATCHDOG.open_streams()
    assert what == "play" or soundfile.info(path).samplerate == 48000


def test_errors_are_raised_by_the_call(tmp_path: Path) -> None:
    nowhere = "file:/no/such/folder/a.wav"
    for wrong in (
        lambda: audiostream.play(ramp(10)),
        lambda: audiostream.play(ramp(10), wait=False),
        lambda: audiostream.play(tmp_path / "none.wav", wait=False),
        lambda: audiostream.play(ramp(10), 48000, wait=2),
        lambda: audiostream.record(-1),
        lambda: audiostream.record_to(tmp_path / "a", wait=False),
        lambda: audiostream.record_to(tmp_path / "a.wav", wait=2),
        lambda: audiostream.playrec(ramp(0), 48000),
        lambda: audiostream.play(ramp(10), 48000, device=nowhere),
        lambda: audiostream.play(ramp(10), 48000, device=nowhere, wait=False),
    ):
        with pytest.raises(AudioException):
            wrong()
    assert not WATCHDOG.open_streams()


def test_they_do_not_stop_an_event_loop(tmp_path: Path) -> None:
    device = ManualDevice()

    handle = audiostream.play(ramp(10), 48000, device=device, wait=False)

    async def calls() -> None:
        for call in (
            lambda: audiostream.play(ramp(10), 48000, device=device),
            lambda: audiostream.play(ramp(10), 48000, device=device, wait=False),
            lambda: audiostream.record(1, source=device),
            lambda: audiostream.record_to(tmp_path / "a.wav", source=device),
            lambda: audiostream.playrec(ramp(10), 48000, device=device, source=device),
            handle.wait,
        ):
            with pytest.raises(AudioException, match=r"await .*audiostream\.aio"):
                call()

    asyncio.run(calls())
    handle.stop()
    eventually(lambda: not WATCHDOG.open_streams())


def test_names_are_those_of_aio() -> None:
    for name in ("play", "record", "record_to", "playrec"):
        blocking = getattr(audiostream, name)
        assert blocking is getattr(everyday, name)
        assert inspect_names(blocking) == inspect_names(getattr(audiostream.aio, name))


def inspect_names(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]


def test_a_background_loop_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    portal = background._Portal()

    def start(**_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(background, "PORTAL", portal)
    with monkeypatch.context() as patch:
        patch.setattr(background, "start_blocking_portal", start)
        with pytest.raises(AudioException, match="Too many open"):
            audiostream.play(ramp(10), 48000, device=ManualDevice())
    assert not WATCHDOG.open_streams()
    audiostream.play(ramp(10), 48000, device=ManualDevice(), wait=False).stop()
    portal._leave()


# ------------------------------------------------------------------------------- programs


def run(program: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *args],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


def test_what_plays_and_records_at_the_end_of_a_program_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    done = run(
        """
        import sys, time
        import numpy as np
        import audiostream
        sound = np.full(4800, 0.5, np.float32)
        playing = audiostream.play(sound, 48000, device="null", loop=True, wait=False)
        recording = audiostream.record_to(sys.argv[1], source="null", wait=False)
        while not recording.position:
            time.sleep(0.01)
        """,
        str(path),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert soundfile.info(path).frames > 0


@pytest.mark.parametrize(
    "call",
    [
        "audiostream.record(30, source='null')",
        "audiostream.play(np.zeros(48000), 48000, device='null', loop=True)",
        "audiostream.play(np.zeros(9**6), 48000, device='null', wait=False).wait()",
        "list(audiostream.get_input(source='null').__enter__())",
    ],
)
def test_a_daemon_thread_that_waits_at_the_end_says_nothing(call: str) -> None:
    done = run(
        f"""
        import threading, time
        import numpy as np
        import audiostream
        from audiostream.engine.watchdog import WATCHDOG
        threading.Thread(target=lambda: {call}, daemon=True).start()
        while not WATCHDOG.open_streams():
            time.sleep(0.01)
        time.sleep(0.1)
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_wait_for_its_parents() -> None:
    device = ManualDevice()
    handle = audiostream.play(ramp(96000), 48000, device=device, wait=False)
    stepped(device, lambda: handle.position > 0)
    child = os.fork()
    if not child:
        try:
            handle.wait()
        except StreamClosedError:
            handle.stop()
            os._exit(handle.is_finished)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    handle.stop()
    assert handle.wait() is False
