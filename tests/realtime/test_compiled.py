"""The machine code on disk: never stale, never damaged, and never in the way.

What needs other sources or another environment works on a copy of the package, in processes
of its own, and with a few small kernels, since the library's take seconds to compile; one
process, that of `translated`, has them all.  What is done with files is tested with the kernels
that are loaded already, in a folder of the test's own.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
import platformdirs
import pytest

import audiostream
from audiostream.errors import AudioException
from audiostream.realtime.compile import cache as cache_module
from audiostream.realtime.compile import kernels as compiled
from audiostream.realtime.compile.cache import make
from audiostream.realtime.compile.module import ENTRIES

PACKAGE = Path(audiostream.__file__).parent

# --- a copy of the package, in processes of its own --------------------------------

PROGRAM = """
import ctypes, json, os, sys
from audiostream.realtime.compile import kernels as compiled

def few():
    from audiostream.realtime.compile.module import ENTRIES
    return every({name: ENTRIES[name] for name in ("load_word", "encode_block")})

every = compiled.compile_kernels
compiled.compile_kernels = few


def build(**options):
    "What the kernels do, and whether numba was needed."
    k = compiled.build(**options)
    half, sample, word = ctypes.c_float(0.5), ctypes.c_int16(), ctypes.c_int64(99)
    k.encode_block(ctypes.addressof(half), ctypes.addressof(sample), 16, 1)
    return [sample.value, k.load_word(ctypes.addressof(word)), "numba" in sys.modules]

"""

REPORT = "print(json.dumps(build()))\n"
COLD = [16384, 99, True]
WARM = [16384, 99, False]
MESSAGE = "compiling the audio kernels for this machine, once; some seconds ...\n"


@dataclass
class Said:
    """What a process said."""

    answer: Any
    stderr: str


class Copy:
    """A copy of the package, processes that import it, and their folder of machine code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.realtime = folder / "audiostream" / "realtime"
        ignored = shutil.ignore_patterns("__pycache__", "*.wav")
        shutil.copytree(PACKAGE, folder / "audiostream", ignore=ignored)

    def run(self, program: str = REPORT, **environment: str) -> Said:
        """Run a program after PROGRAM; what it prints is JSON."""
        own = {"PYTHONPATH": str(self.folder), compiled.FOLDER: str(self.cache)}
        # -B: no stale .pyc within one second
        done = subprocess.run(
            [sys.executable, "-B", "-W", "error", "-c", PROGRAM + program],
            # Not measured: it is only a copy.
            env={**os.environ, **own, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Said(json.loads(done.stdout), done.stderr)

    def kept(self) -> list[Path]:
        """All that is in the folder."""
        return sorted(self.cache.iterdir()) if self.cache.exists() else []

    def edit(self, name: str) -> None:
        """Halve what 16-bit encoding makes of a sample."""
        path = self.realtime / name
        text = path.read_text(encoding="utf-8")
        assert text.count("SCALE16 = np.float32(32768.0)") == 1
        text = text.replace("SCALE16 = np.float32(32768.0)", "SCALE16 = np.float32(16384.0)")
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_a_first_start_compiles_and_an_edit_to_another_module_does_so_again(
    copy: Copy,
) -> None:
    first = copy.run()
    assert first.answer == COLD
    assert first.stderr == MESSAGE
    (file,) = copy.kept()
    second = copy.run()
    assert second.answer == WARM, "without numba"
    assert second.stderr == ""
    copy.edit("units/conversion.py")
    blind = copy.run(f"compiled.fingerprint = lambda: {file.stem[8:]!r}\n" + REPORT)
    assert blind.answer == WARM, "but for the fingerprint the stale code would be taken"
    third = copy.run()
    assert third.answer == [8192, 99, True]
    assert third.stderr == MESSAGE
    assert copy.run().answer == [8192, 99, False]
    assert len(copy.kept()) == 2


def test_the_machine_code_does_not_depend_on_numbas_options(copy: Copy) -> None:
    """Not on its compiler being switched off, nor on bounds that are checked."""
    assert copy.run().answer == COLD
    (file,) = copy.kept()
    code = file.read_bytes()
    file.unlink()
    options = {"NUMBA_DISABLE_JIT": "1", "NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "0"}
    assert copy.run(**options).answer == COLD
    assert file.read_bytes() == code
    assert copy.run(**options).answer == WARM


def test_an_edit_after_the_import_leaves_nothing_stale_behind(copy: Copy) -> None:
    """The modules that are compiled are older than the files that the fingerprint is of."""
    edit = (
        "import audiostream.realtime.compile.module\n"
        "path = os.path.join('audiostream', 'realtime', 'units', 'conversion.py')\n"
        "with open(path) as file: text = file.read()\n"
        "text = text.replace('np.float32(32768.0)', 'np.float32(16384.0)')\n"
        "with open(path, 'w') as file: file.write(text)\n"
    )
    assert copy.run(edit + REPORT).answer == COLD, "what was imported is what is compiled"
    assert copy.run().answer[0] == 8192


def test_all_kernels_compile_with_numbas_compiler_switched_off(translated: str) -> None:
    for name in ENTRIES:
        assert f"define i64 @{name}(" in translated


def test_where_nothing_can_be_kept_a_start_compiles_in_memory(copy: Copy) -> None:
    nowhere = copy.folder / "a file"
    nowhere.touch()
    said = copy.run(**{compiled.FOLDER: str(nowhere / "inside")})
    assert said.answer == COLD
    (line,) = said.stderr.splitlines()
    assert line.startswith("compiling the audio kernels in memory, some seconds at each start")
    assert str(nowhere) in line
    assert "AUDIOSTREAM_CACHE can name another folder" in line


def test_programs_that_tests_start_find_the_kernels_compiled(tmp_path: Path) -> None:
    """conftest.py has seen to that, whatever their HOME is."""
    program = (
        "import sys, numpy\n"
        "from audiostream.aio import get_output\n"
        "from audiostream import AudioSample\n"
        "with get_output(device='null') as speaker:\n"
        "    music = speaker.group()\n"
        "    voice = speaker.sample(rate=16000, group=music)\n"
        "    voice.write_nowait(bytes(400))\n"
        "    speaker.load(numpy.ones(10)).play(group=music)\n"
        "    speaker.add_sample(AudioSample())\n"
        "print('numba' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


# --- files -------------------------------------------------------------------------


class Cache:
    """A folder of its own, and a compiler that hands out the code that there is already."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.compiled = 0
        self.code = _code()
        monkeypatch.setenv(compiled.FOLDER, str(folder))
        monkeypatch.setattr(compiled, "compile_kernels", self._compile)

    def _compile(self) -> bytes:
        self.compiled += 1
        return self.code

    @property
    def path(self) -> Path:
        return self.folder / f"kernels-{compiled.fingerprint()}.o"

    @property
    def whole(self) -> bytes:
        """What the file must hold."""
        return hashlib.sha256(self.code).digest() + self.code

    def build(self, **options: Any) -> int:
        """Build, and try what was built; how often it was compiled."""
        self.compiled = 0
        built = compiled.build(**options)
        word = ctypes.c_int64(-7)
        assert built.load_word(ctypes.addressof(word)) == -7
        return self.compiled


def _code() -> bytes:
    """The session's machine code."""
    code = compiled.read(compiled.folder() / f"kernels-{compiled.fingerprint()}.o")
    return compiled.compile_kernels() if code is None else code


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    return Cache(tmp_path / "deep" / "inside", monkeypatch)


def test_the_code_is_kept_behind_its_checksum_and_taken_the_next_time(cache: Cache) -> None:
    assert cache.build() == 1
    assert [path.name for path in cache.folder.iterdir()] == [cache.path.name]
    assert cache.path.read_bytes() == cache.whole
    assert cache.build() == 0


def test_the_first_start_says_so_and_the_next_ones_say_nothing(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="audiostream"):
        cache.build()
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("audiostream", logging.WARNING)
        assert record.getMessage() + "\n" == MESSAGE
        caplog.clear()
        cache.build()
        assert caplog.records == []


def test_a_cache_can_be_declined(cache: Cache) -> None:
    assert cache.build(cache=False) == 1
    assert not cache.folder.exists()
    cache.build()
    assert cache.build(cache=False) == 1, "nor is it looked at"


def flipped(content: bytes, at: int) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda whole: b"",
    "one byte": lambda whole: whole[:1],
    "part of the checksum": lambda whole: whole[:31],
    "the checksum alone": lambda whole: whole[:32],
    "half": lambda whole: whole[: len(whole) // 2],
    "all but one byte": lambda whole: whole[:-1],
    "one byte more": lambda whole: whole + b"\0",
    "a bit of the checksum": lambda whole: flipped(whole, 5),
    "the first bit": lambda whole: flipped(whole, 32),
    "a bit in the middle": lambda whole: flipped(whole, len(whole) // 2),
    "the last bit": lambda whole: flipped(whole, -1),
    "zeros of its length": lambda whole: bytes(len(whole)),
    "no checksum": lambda whole: whole[32:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_never_taken_and_is_replaced(cache: Cache, damage: str) -> None:
    cache.build()
    cache.path.write_bytes(DAMAGE[damage](cache.whole))
    assert cache.build() == 1
    assert cache.path.read_bytes() == cache.whole
    assert cache.build() == 0


def test_a_folder_in_the_files_place_is_no_error(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    make(cache.path)
    assert cache.build() == 1
    told, unkept = caplog.records
    assert told.getMessage() + "\n" == MESSAGE
    assert unkept.levelno == logging.WARNING
    assert "cannot be written" in unkept.getMessage()
    assert str(cache.path) in unkept.getMessage()
    assert list(cache.folder.iterdir()) == [cache.path], "nothing is left lying about"


def test_a_folder_that_others_may_write_is_not_used(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.build()
    cache.folder.chmod(0o777)
    before = cache.path.stat()
    caplog.clear()
    assert cache.build() == 1
    (told,) = caplog.records
    assert told.levelno == logging.WARNING
    assert f"other users may write {cache.folder}" in told.getMessage()
    assert cache.path.stat() == before
    cache.folder.chmod(0o700)
    assert cache.build() == 0


def test_a_file_that_others_may_write_is_replaced(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.build()
    cache.path.chmod(0o666)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="audiostream"):
        assert cache.build() == 1
    assert f"not used: other users may write {cache.path}" in caplog.text
    assert cache.path.stat().st_mode & 0o777 == 0o600
    assert cache.build() == 0


def test_a_fifo_in_the_files_place_is_replaced(cache: Cache) -> None:
    cache.build()
    cache.path.unlink()
    os.mkfifo(cache.path)
    assert cache.build() == 1
    assert cache.path.read_bytes() == cache.whole


def test_without_a_home_folder_it_compiles_in_memory(
    cache: Cache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(compiled.FOLDER, "~no-user-of-this-name")
    monkeypatch.chdir(cache.folder.parents[1])
    assert cache.build() == 1
    (told,) = caplog.records
    assert "~no-user-of-this-name has no home folder" in told.getMessage()
    assert list(Path.cwd().iterdir()) == []


def test_of_two_first_starts_one_compiles(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As threads, which lock a folder as processes do."""
    waits, begun = threading.Event(), threading.Event()
    compile_kernels = cache._compile

    def slowly() -> bytes:
        begun.set()
        assert waits.wait(20)
        return compile_kernels()

    monkeypatch.setattr(compiled, "compile_kernels", slowly)
    monkeypatch.setattr(cache_module.time, "sleep", lambda _: waits.set())
    monkeypatch.setattr(compiled, "alone", functools.partial(compiled.alone, limit=60))
    first, second = (threading.Thread(target=compiled.build) for _ in range(2))
    first.start()
    assert begun.wait(20)
    second.start()
    for thread in (first, second):
        thread.join(60)
        assert not thread.is_alive()
    assert cache.compiled == 1


@pytest.mark.parametrize(
    "error",
    [
        ImportError("Numba needs NumPy 2.2 or less. Got NumPy 2.5."),
        RuntimeError("Attribute 'noinline' does not apply\nto function return values\n" * 50),
    ],
)
def test_what_cannot_be_compiled_is_told_in_one_sentence(
    cache: Cache, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> bytes:
        raise error

    monkeypatch.setattr(compiled, "compile_kernels", fail)
    with pytest.raises(AudioException) as caught:
        compiled.build()
    said = str(caught.value)
    numba = importlib.metadata.version("numba")
    assert said.startswith(
        f"the audio kernels cannot be compiled by numba {numba} and llvmlite"
    )
    assert f"({type(error).__name__}: {str(error).split()[0]}" in said
    assert said.endswith("try: pip install --upgrade numba")
    assert "\n" not in said
    assert len(said) < 400
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("Traceback") == 1, "without the one from within the compiler"


def test_a_missing_numba_has_no_version() -> None:
    assert compiled.installed("no-package-of-this-name") == "(not installed)"


@pytest.mark.parametrize("step", ["mkdir", "mkstemp", "write", "replace"])
def test_a_full_disk_leaves_the_folder_as_it_was(
    cache: Cache, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full:
        def __init__(self, handle: int, mode: str) -> None:
            self._handle = handle

        def __enter__(self) -> Any:
            return self

        write = full

        def __exit__(self, *_: object) -> None:
            os.close(self._handle)

    if step == "write":
        monkeypatch.setattr(cache_module.os, "fdopen", Full)
    elif step == "mkstemp":
        monkeypatch.setattr(cache_module.tempfile, "mkstemp", full)
    else:
        monkeypatch.setattr(Path, step, full)
    assert cache.build() == 1
    monkeypatch.undo()
    assert not cache.folder.exists() or list(cache.folder.iterdir()) == []


def test_the_file_is_there_whole_or_not_at_all(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bytes]] = []
    real = Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.append((target.exists(), self.read_bytes()))
        assert self.parent == target.parent, "else it would be copied"
        return real(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    cache.build()
    assert seen == [(False, cache.whole)]


def test_processes_that_start_together_do_not_disturb_each_other(cache: Cache) -> None:
    """As threads, each with what it does to files: all read nothing, or the whole."""
    wrong: list[object] = []
    begin = threading.Barrier(4)
    make(cache.folder)

    def start() -> None:
        begin.wait(20)
        for _ in range(50):
            there = cache.path.exists()
            if there and compiled.read(cache.path) is None:
                wrong.append("a part of it")
            compiled.keep(cache.path, cache.code)
            if compiled.read(cache.path) != cache.code:
                wrong.append("not what was kept")

    threads = [threading.Thread(target=start, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert wrong == []
    assert [path.name for path in cache.folder.iterdir()] == [cache.path.name]


def test_only_some_files_of_other_versions_are_left(cache: Cache) -> None:
    make(cache.folder)
    others = [cache.folder / f"kernels-{number:032x}.o" for number in range(12)]
    for number, path in enumerate(others):
        path.touch()
        os.utime(path, (1000 + number, 1000 + number))
    foreign = [cache.folder / name for name in ("kernels.txt", "notes.o", "kernels-x.o.bak")]
    for path in foreign:
        path.touch()
        os.utime(path, (1, 1))
    cache.build()
    left = {*others[-cache_module.KEPT :], *foreign, cache.path}
    assert set(cache.folder.iterdir()) == left


def test_the_variable_names_the_folder_and_else_it_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(compiled.FOLDER, str(tmp_path))
    assert compiled.FOLDER == "AUDIOSTREAM_CACHE"
    assert compiled.folder() == tmp_path
    usual = Path(platformdirs.user_cache_dir("audiostream", appauthor=False))
    monkeypatch.setenv(compiled.FOLDER, "")
    assert compiled.folder() == usual
    monkeypatch.delenv(compiled.FOLDER)
    assert compiled.folder() == usual
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
        assert compiled.folder() == tmp_path / "elsewhere" / "audiostream"


# --- the fingerprint ---------------------------------------------------------------


def test_the_fingerprint_depends_on_every_source_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Copy(tmp_path).realtime
    original = compiled.fingerprint()
    assert len(original) == 32
    monkeypatch.setattr(compiled, "SOURCES", folder)
    assert compiled.fingerprint() == original, "the same text elsewhere is the same"
    seen = {original}
    for path in sorted(folder.rglob("*.py")):
        path.write_bytes(path.read_bytes() + b"\n")
        seen.add(compiled.fingerprint())
    assert len(seen) == 1 + len(list(folder.rglob("*.py")))
    (folder / "another.py").touch()
    assert compiled.fingerprint() not in seen


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("get_host_cpu_name", "pentium"),
        ("get_default_triple", "pdp11-unknown-unix"),
        ("get_host_cpu_features", llvmlite.binding.FeatureMap(fma=False)),
    ],
)
def test_the_fingerprint_depends_on_the_processor(
    name: str, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = compiled.fingerprint()
    monkeypatch.setattr(compiled.llvm, name, lambda: answer)
    assert compiled.fingerprint() != original


def test_the_fingerprint_depends_on_llvms_version(monkeypatch: pytest.MonkeyPatch) -> None:
    original = compiled.fingerprint()
    monkeypatch.setattr(compiled.llvmlite, "__version__", "0.0")
    assert compiled.fingerprint() != original


def test_a_processor_whose_features_llvm_cannot_tell_is_served_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown() -> Any:
        raise RuntimeError("target not supported.")

    monkeypatch.setattr(compiled.llvm, "get_host_cpu_features", unknown)
    assert compiled.processor() == (llvmlite.binding.get_host_cpu_name(), "")
    assert compiled.target_machine().emit_object(llvmlite.binding.parse_assembly(""))


# --- the kernels of a process ------------------------------------------------------


def test_there_is_one_set_of_kernels_a_process() -> None:
    kernels = compiled.kernels()
    assert compiled.kernels() is kernels
    assert set(compiled.Kernels.__dataclass_fields__) == set(compiled.NAMES)
    assert kernels.render != kernels.capture
    assert min(kernels.render, kernels.capture) > 0


def test_only_the_clock_gives_up_the_interpreters_lock() -> None:
    """A call that keeps it is a PYFUNCTYPE; to give it up costs up to 5 ms to get it back."""
    kernels = compiled.kernels()
    keeping = ctypes.PYFUNCTYPE(None)._flags_  # type: ignore[attr-defined]
    assert keeping != ctypes.CFUNCTYPE(None)._flags_  # type: ignore[attr-defined]
    for name in compiled.ARGUMENTS:
        function: Any = getattr(kernels, name)
        assert (function._flags_ == keeping) == (name != "run_clock"), name
        assert len(function.argtypes) == compiled.ARGUMENTS[name]


def test_kernels_that_are_built_again_do_the_same_beside_the_first(cache: Cache) -> None:
    cache.build()
    first, second = compiled.kernels(), compiled.build()
    assert first.render != second.render
    samples = np.linspace(-1, 1, 50, dtype=np.float32)
    results = []
    for kernels in (first, second):
        target = np.zeros(50, np.int16)
        kernels.encode_block(samples.ctypes.data, target.ctypes.data, 16, 50)
        results.append(target.tolist())
    assert results[0] == results[1]
