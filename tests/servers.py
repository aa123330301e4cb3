"""Private sound servers for tests, and the programs that use them, as processes.

Each server lives in a directory of its own and is stopped by its process id.  Programs
run in subprocesses with the server's :attr:`environment`, since PortAudio, ALSA and
JACK read theirs once per process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar

import pytest

__all__ = ("JackServer", "Program", "PulseServer", "silent_environment")

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT = 10.0

JACK_SLOTS = 4

S = TypeVar("S", bound="Server")


def silent_environment(directory: Path) -> dict[str, str]:
    """Return an environment in which no sound server and no device is to be found."""
    home, runtime = directory / "home", directory / "run"
    home.mkdir(parents=True, exist_ok=True)
    runtime.mkdir(mode=0o700, exist_ok=True)
    kept = ("PATH", "LANG", "TMPDIR", "AUDIOSTREAM_CACHE")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        # What coverage hands to subprocesses.
        **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(runtime),
        "PULSE_SERVER": f"unix:{runtime}/none",
        "JACK_DEFAULT_SERVER": f"none-{os.getpid()}",
        "PYTHONPATH": str(ROOT),
    }


# Becomes the server, to be killed when the test process is (prctl's PR_SET_PDEATHSIG).
_END_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Server:
    """A sound server; a context manager that starts it and stops it.

    Attributes
    ----------
    environment : dict
        What a program needs to find this server and no other.
    """

    program = ""
    process: subprocess.Popen[bytes]

    def __init__(self, directory: Path) -> None:
        if shutil.which(self.program) is None:
            pytest.skip(f"{self.program} is not installed")
        self.environment = silent_environment(directory)
        self.log = directory / "log"

    def command(self) -> list[str]:
        raise NotImplementedError

    def ready(self) -> bool:
        """Return whether clients are served."""
        raise NotImplementedError

    def __enter__(self: S) -> S:
        self.start()
        return self

    def start(self) -> None:
        """Start it, also again after it was killed."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-IS", "-c", _END_WITH_PARENT, *self.command()],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise

    def _wait(self) -> None:
        end = time.monotonic() + START_LIMIT
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                said = self.log.read_text(errors="replace")
                raise RuntimeError(f"{self.program} did not start:\n{said}")
            time.sleep(0.05)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.thaw()
            self.process.terminate()
            try:
                self.process.wait(2)  # jackd waits seconds for a client that crashed
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self.process.kill()
        self.process.wait(10)

    def freeze(self) -> None:
        """Stop it from doing anything (SIGSTOP)."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self.process.send_signal(signal.SIGCONT)


class PulseServer(Server):
    """PulseAudio with a null sink, whose monitor is the default source.

    What the device ``"default"`` plays, its input hears: bit-exact for int16 at 48 kHz,
    two channels, and 512 frames or more.
    """

    program = "pulseaudio"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.socket = directory / "run" / "pulse" / "native"
        self.environment["PULSE_SERVER"] = f"unix:{self.socket}"
        self.script = directory / "pulse.pa"
        # The socket comes last: once it answers, all is there.  Without norewinds the
        # monitor replays and reorders blocks.
        self.script.write_text(
            "load-module module-null-sink sink_name=loop format=s16le rate=48000 channels=2"
            " norewinds=1\n"
            "set-default-sink loop\n"
            "set-default-source loop.monitor\n"
            f"load-module module-native-protocol-unix auth-anonymous=1 socket={self.socket}\n"
        )
        (directory / "home" / ".asoundrc").write_text(
            "pcm.!default {type pulse hint{show on description x}}\nctl.!default {type pulse}\n"
        )

    def command(self) -> list[str]:
        self.socket.parent.mkdir(mode=0o700, exist_ok=True)
        return [
            self.program,
            "-n",
            "-F",
            str(self.script),
            "--daemonize=no",
            "--exit-idle-time=-1",
            "--use-pid-file=no",
        ]

    def ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.socket)) == 0


class JackServer(Server):
    """jackd with the dummy driver and the loopback one.

    What the device ``"loopback"`` plays, its input hears two periods later: bit-exact
    for float32 at 48 kHz where the stream's buffer is one period.
    """

    program = "jackd"

    def __init__(self, directory: Path, period: int = 256) -> None:
        super().__init__(directory)
        self.period = period
        self.environment["JACK_NO_START_SERVER"] = "1"

    def __enter__(self) -> JackServer:
        # jackd's registry has eight places, and a killed server keeps its one until
        # another of the same name takes it: so there are few names, each locked while
        # it is in use.
        self._slot = contextlib.ExitStack()
        self.name = self._slot.enter_context(jack_name())
        self.environment["JACK_DEFAULT_SERVER"] = self.name
        try:
            self.start()
        except BaseException:
            self._slot.close()
            raise
        return self

    def start(self) -> None:
        try:
            super().start()
        except RuntimeError:
            # A crashed client can leave the metadata base locked.
            shutil.rmtree(f"/dev/shm/jack_db-{os.getuid()}", ignore_errors=True)
            super().start()

    def command(self) -> list[str]:
        return [
            self.program,
            *("-n", self.name, "-r", "-S", "-L", "2"),
            *("-d", "dummy", "-r", "48000", "-p", str(self.period)),
        ]

    def ready(self) -> bool:
        ports = subprocess.run(
            ["jack_lsp", "-s", self.name],
            env=self.environment,
            capture_output=True,
            timeout=START_LIMIT,
            check=False,
        )
        return b"loopback:playback_1" in ports.stdout

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        for left in Path("/dev/shm").glob(f"*{self.name}*"):
            left.unlink(missing_ok=True)
        self._slot.close()


@contextlib.contextmanager
def jack_name() -> Iterator[str]:
    """Hold a server name that no other test on this machine uses now."""
    for number in range(JACK_SLOTS):
        name = f"audiostream-test-{number}"
        with (Path(tempfile.gettempdir()) / f"{name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield name
            return
    pytest.skip(f"all {JACK_SLOTS} JACK servers for tests are in use")


class Program:
    """A Python program in a subprocess that cannot hang the test.

    Parameters
    ----------
    source : str
        The program's text.
    environment : mapping
    arguments : str
        For its ``sys.argv[1:]``.
    limit : float
        Seconds after which it is killed, and the test fails.
    """

    def __init__(
        self,
        source: str,
        environment: Mapping[str, str],
        *arguments: str,
        limit: float = 40.0,
    ) -> None:
        self._end = time.monotonic() + limit
        self.process = subprocess.Popen(
            [sys.executable, "-c", source, *arguments],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._errors: list[str] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._threads = [
            self._reads(self.process.stdout, self._lines.put),
            self._reads(self.process.stderr, self._errors.append),
        ]

    def _reads(self, stream: IO[str] | None, put: Callable[[str], None]) -> threading.Thread:
        assert stream is not None

        def run() -> None:
            with stream:
                for line in stream:
                    put(line)
            put("")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdin is not None
        self.process.stdin.close()

    @property
    def errors(self) -> str:
        """What it wrote to stderr so far."""
        return "".join(self._errors)

    def hear(self) -> str:
        """Return its next line of output."""
        try:
            line = self._lines.get(timeout=max(self._end - time.monotonic(), 0.1))
        except queue.Empty:
            line = ""
        if not line:
            pytest.fail(f"the program said nothing more; its stderr:\n{self.errors}")
        return line.rstrip("\n")

    def say(self, line: str = "") -> None:
        """Give it a line of input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def finish(self) -> int:
        """Wait for its end and return its exit code; :attr:`errors` is complete then."""
        try:
            code = self.process.wait(max(self._end - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            pytest.fail(f"the program did not end; its stderr:\n{self.errors}")
        for thread in self._threads:
            thread.join(5)
        return code
