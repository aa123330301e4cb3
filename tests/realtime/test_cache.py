"""Only what this user alone can have written is read, and nothing that lies there hangs."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audiostream.realtime.compile import cache

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no modes and owners")

LIMIT = 20
"""Seconds, against hanging."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "kernels"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def file(folder: Path) -> Path:
    file = folder / "kernels-1.o"
    cache.write_own(file, b"code")
    return file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# --- what is read ------------------------------------------------------------------


@pytest.mark.parametrize("bits", [0o600, 0o400, 0o644, 0o755])
def test_a_file_that_only_this_user_may_write_is_read(file: Path, bits: int) -> None:
    file.chmod(bits)
    file.parent.chmod(0o755)
    assert cache.read_own(file) == b"code"


@pytest.mark.parametrize("bits", [0o620, 0o602, 0o666, 0o777])
def test_a_file_that_others_may_write_is_refused(file: Path, bits: int) -> None:
    file.chmod(bits)
    with pytest.raises(PermissionError, match=r"other users may write .*kernels-1\.o; chmod"):
        cache.read_own(file)


@pytest.mark.parametrize("bits", [0o770, 0o707, 0o777, 0o1777])
def test_a_folder_that_others_may_write_is_refused(file: Path, bits: int) -> None:
    file.parent.chmod(bits)
    with pytest.raises(PermissionError, match=r"other users may write .*kernels; chmod"):
        cache.read_own(file)
    with pytest.raises(PermissionError, match="other users may write"):
        cache.make(file.parent)
    assert mode(file.parent) == bits, "which may be that of a folder like /tmp"


def test_another_users_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match="is not this user's"):
        cache.read_own(file)
    with pytest.raises(PermissionError, match="is not this user's"):
        cache.make(file.parent)


def test_another_users_folder_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.stat

    def others(self: Path, **options: Any) -> os.stat_result:
        fields = list(real(self, **options))
        fields[stat.ST_UID] += 1
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "stat", others)
    with pytest.raises(PermissionError, match="kernels is not this user's"):
        cache.read_own(file)


def link(path: Path) -> None:
    aim = path.with_name("aim")
    cache.write_own(aim, b"code")
    path.symlink_to(aim)


def bound(path: Path) -> None:
    short = Path(os.path.relpath(path))  # no more than some 100 bytes are allowed
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(short))


INTRUDERS: dict[str, Callable[[Path], None]] = {
    "a FIFO": os.mkfifo,
    "a socket": bound,
    "a link": link,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link that leads nowhere": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("what", INTRUDERS)
def test_what_is_no_file_is_refused_at_once_and_replaced(
    folder: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    path = folder / "kernels-1.o"
    INTRUDERS[what](path)
    with pytest.raises(OSError, match=r"kernels-1\.o") as caught:
        cache.read_own(path)
    assert not isinstance(caught.value, FileNotFoundError)
    cache.write_own(path, b"new")
    assert cache.read_own(path) == b"new"
    if what == "a link":
        assert path.with_name("aim").read_bytes() == b"code"


def test_a_folder_in_a_files_place_is_refused(file: Path) -> None:
    file.unlink()
    file.mkdir()
    with pytest.raises(PermissionError, match="no regular file"):
        cache.read_own(file)
    with pytest.raises(OSError, match=r"kernels-1\.o"):
        cache.write_own(file, b"new")
    assert list(file.parent.iterdir()) == [file], "nothing is left lying about"


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="cannot list descriptors here")
def test_no_descriptor_is_left_open(file: Path) -> None:
    def count() -> int:
        return len(os.listdir("/dev/fd"))  # noqa: PTH208, iterdir() holds one open

    before = count()
    cache.read_own(file)
    file.chmod(0o666)
    with pytest.raises(PermissionError):
        cache.read_own(file)
    with cache.alone(file.parent):
        pass
    assert count() == before


def test_without_owners_nothing_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    file.chmod(0o666)
    status = file.stat()
    monkeypatch.setattr(os, "name", "nt")
    cache._check_owner(file, status)


# --- what is made ------------------------------------------------------------------


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_what_is_made_is_this_users_alone(tmp_path: Path) -> None:
    before = mode(tmp_path)
    folder = tmp_path / "one" / "two"
    cache.make(folder)
    cache.make(folder)
    file = folder / "kernels-1.o"
    cache.write_own(file, b"code")
    assert [mode(tmp_path / "one"), mode(folder), mode(file)] == [0o700, 0o700, 0o600]
    assert mode(tmp_path) == before, "which was there"


def test_a_folder_that_cannot_be_made_is_an_error(file: Path) -> None:
    for path in (file, file / "inside"):
        with pytest.raises(OSError, match=r"kernels-1\.o"):
            cache.make(path)


def test_a_home_folder_is_written_as_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(cache.FOLDER, "~/kernels")
    assert cache.folder() == tmp_path / "kernels"
    monkeypatch.setenv(cache.FOLDER, "~no-user-of-this-name/kernels")
    with pytest.raises(FileNotFoundError, match=r"~no-user-of-this-name/kernels.*home folder"):
        cache.folder()


# --- one at a time -----------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from audiostream.realtime.compile.cache import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def held(folder: Path) -> bool:
    """True if somebody works there."""
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def test_a_holder_that_is_stopped_holds_no_one_for_long_and_a_killed_one_leaves_no_lock(
    folder: Path,
) -> None:
    root = Path(cache.__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGSTOP)
        entered = False
        with cache.alone(folder, limit=0.1):
            entered = True
        assert entered
        assert held(folder), "by the one that is stopped"
        holder.kill()
    with cache.alone(folder, limit=LIMIT):
        assert held(folder), "by this one"
    assert not held(folder)
    assert list(folder.iterdir()) == []


def test_the_second_waits_until_the_first_is_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, done = threading.Event(), threading.Event()
    order: list[str] = []

    def second() -> None:
        with cache.alone(folder, limit=LIMIT):
            order.append("second")

    def sleep(_: float) -> None:
        waits.set()
        assert done.wait(LIMIT)

    monkeypatch.setattr(cache.time, "sleep", sleep)
    thread = threading.Thread(target=second)
    with cache.alone(folder):
        thread.start()
        assert waits.wait(LIMIT)
        order.append("first")
    done.set()
    thread.join(LIMIT)
    assert order == ["first", "second"]


def test_an_error_inside_gives_the_lock_back(folder: Path) -> None:
    with pytest.raises(LookupError), cache.alone(folder):
        raise LookupError
    assert not held(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("error", [None, LookupError])
def test_a_child_that_is_forked_meanwhile_does_not_keep_the_lock(
    folder: Path, error: type[Exception] | None
) -> None:
    reader, writer = os.pipe()
    child = 0
    try:
        with cache.alone(folder):
            child = os.fork()
            if child == 0:
                os.close(writer)
                os.read(reader, 1)  # until the parent is done
                os._exit(0)
            if error is not None:
                raise error
    except LookupError:
        pass
    assert not held(folder)
    os.close(writer)
    os.close(reader)
    os.waitpid(child, 0)


def test_where_there_are_no_locks_no_one_waits(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    entered = 0
    with monkeypatch.context() as patch, cache.alone(folder, limit=LIMIT):
        patch.setattr(fcntl, "flock", none)
        with cache.alone(folder, limit=LIMIT):
            entered += 1
        patch.setitem(sys.modules, "fcntl", None)
        with cache.alone(folder, limit=LIMIT):
            entered += 1
    with cache.alone(folder / "gone", limit=LIMIT):
        entered += 1
    assert entered == 3
