"""Which libpd is chosen, and what is said where there is none."""

from __future__ import annotations

import ctypes
import gc
import sys
import tempfile
import threading
import types
from pathlib import Path

import pytest

from audiostream.errors import NoLibpdError, PatchError, PatchWarning
from audiostream.libpd import Patch, library
from audiostream.libpd.backends import NAMES, VARIABLE, Backends
from audiostream.libpd.library import Missing, copy_of, cypd_library, system_library
from audiostream.libpd.native import NativeBackend
from tests.libpd import support
from tests.libpd.support import KINDS, PATCHES, Unavailable


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Backends:
    """Backends on a machine that seems to have none."""

    def none() -> Path:
        raise Missing("not on this machine")

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "pylibpd", None)
    monkeypatch.setattr("audiostream.libpd.backends.system_library", none)
    monkeypatch.setattr("audiostream.libpd.backends.cypd_library", none)
    backends = Backends()
    monkeypatch.setattr("audiostream.libpd.patch.BACKENDS", backends)
    return backends


def found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(f"audiostream.libpd.backends.{name}_library", cypd_library)


@pytest.mark.parametrize("kind", KINDS)
def test_the_conformance_suite_runs_on(kind: str) -> None:
    try:
        backends, name, _ = support.backends(kind)
    except Unavailable as error:
        pytest.skip(str(error))
    assert isinstance(backends, Backends)
    assert name == kind or kind in ("system", "stand-in")


def test_without_any_libpd_the_command_is_named(alone: Backends) -> None:
    with pytest.raises(NoLibpdError) as error:
        Patch(PATCHES / "sine.pd")
    for words in ('pip install "audiostream[puredata]"', "apt install libpd0", *NAMES):
        assert words in str(error.value)


def test_the_order(alone: Backends, monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, "cypd")
    assert Backends().choose().name == "cypd"
    found(monkeypatch, "system")
    assert Backends().choose().name == "system"
    module = importlib_stand_in()
    monkeypatch.setitem(sys.modules, "pylibpd", module)
    assert Backends().choose().name == "pylibpd"


def importlib_stand_in() -> types.ModuleType:
    return __import__("tests.libpd.stand_in", fromlist=["stand_in"])


def test_chosen_by_hand(alone: Backends, monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, "cypd")
    found(monkeypatch, "system")
    assert alone.choose("cypd").name == "cypd"
    monkeypatch.setenv(VARIABLE, "cypd")
    assert alone.choose() is alone.choose("cypd")
    assert alone.choose("system").name == "system"
    monkeypatch.setenv(VARIABLE, str(cypd_library()))
    with Patch(PATCHES / "sine.pd") as patch:
        assert patch.carrier == str(cypd_library())
        assert "sine.pd" in repr(patch)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pylibpd", "cannot be imported"),
        ("system", "not on this machine"),
        ("/no/such/libpd.so", "no such file"),
        ("puredata", "is no way to get at libpd"),
    ],
)
def test_what_was_named_is_not_there(alone: Backends, name: str, says: str) -> None:
    with pytest.raises(NoLibpdError, match=says):
        alone.choose(name)


def test_a_module_that_only_has_the_name(
    alone: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pylibpd", types.ModuleType("pylibpd"))
    with pytest.raises(NoLibpdError, match="not libpd's Python binding"):
        alone.choose("pylibpd")


def test_libraries_that_are_not_libpd(alone: Backends, tmp_path: Path) -> None:
    text = tmp_path / "libpd.so"
    text.write_text("not a library", encoding="ascii")
    with pytest.raises(NoLibpdError, match="cannot be loaded"):
        alone.choose(str(text))
    other = sys.modules["_ctypes"].__file__
    with pytest.raises(NoLibpdError, match="does not export"):
        alone.choose(str(other))


def test_a_library_that_is_too_old(alone: Backends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules["audiostream.libpd.native"].__dict__["_FUNCTIONS"], "newer", (None, ())
    )
    with pytest.raises(NoLibpdError, match="too old: it has no libpd_newer"):
        alone.choose(str(cypd_library()))


def test_no_room_for_a_copy(
    alone: Backends, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backend = alone.choose(str(cypd_library()))
    first = backend.acquire()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(PatchError, match="TMPDIR"):
        backend.acquire()
    backend.release(first)
    assert backend.acquire() is first


def test_copies_are_libpds_of_their_own_and_leave_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first, second = (copy_of(cypd_library()) for _ in range(2))
    assert first.libpd_init() == second.libpd_init() == 0
    assert first.libpd_init() != 0  # once only
    address = ctypes.c_void_p
    assert (
        ctypes.cast(first.libpd_init, address).value
        != ctypes.cast(second.libpd_init, address).value
    )
    if sys.platform != "win32":
        assert not list(tmp_path.iterdir())


def test_engines_are_used_again() -> None:
    backend = NativeBackend("cypd", cypd_library())
    engine = backend.acquire()
    backend.release(engine)
    assert backend.acquire() is engine
    ended = []
    backend.abandon(lambda: ended.append(1))
    assert not ended
    assert backend.acquire() is not engine
    assert ended == [1]


def test_a_build_for_several_instances_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "audiostream.libpd.native.NativeEngine._call",
        lambda engine, name, *arguments: 1 if name == "new_instance" else 0,
    )
    with pytest.raises(NoLibpdError, match="PDINSTANCE"):
        NativeBackend("cypd", cypd_library()).acquire()


# ------------------------------------------------------------------- finding the libraries


def test_cypd_is_found_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cypd", raising=False)  # another test may have
    assert cypd_library().name.startswith("_libpd")
    assert "cypd" not in sys.modules
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Missing, match="not installed"):
        cypd_library()


def test_the_systems_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(Missing, match="no libpd"):
        system_library()
    monkeypatch.setattr("ctypes.util.find_library", lambda name: "/opt/lib/libpd.dylib")
    assert system_library() == Path("/opt/lib/libpd.dylib")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names without a folder")
def test_the_systems_library_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda name: "libm.so.6")
    with pytest.raises(Missing, match="not a libpd"):
        system_library()
    monkeypatch.setattr("ctypes.util.find_library", lambda name: "libpd.so.0")
    loaded = {"libpd.so.0": ctypes.CDLL(str(cypd_library())), None: ctypes.CDLL(None)}
    monkeypatch.setattr(library.ctypes, "CDLL", loaded.__getitem__)
    assert system_library() == cypd_library().resolve()
    loaded[None] = types.SimpleNamespace(dladdr=types.SimpleNamespace())  # type: ignore[assignment]

    class Nowhere:
        def __call__(self, address: object, info: object) -> int:
            return 0

    loaded[None] = types.SimpleNamespace(dladdr=Nowhere())  # type: ignore[assignment]
    with pytest.raises(Missing, match="not to be found out"):
        system_library()


# --------------------------------------------------------------------------------- pylibpd


@pytest.fixture(scope="session")
def _module() -> types.ModuleType:
    """pylibpd where it is here, else its stand-in; looked for before the tests hide it."""
    try:
        module = support.backends("pylibpd")[2]
    except Unavailable:
        module = support.backends("stand-in")[2]
    assert module is not None
    return module


@pytest.fixture
def pylibpd(
    _module: types.ModuleType, alone: Backends, monkeypatch: pytest.MonkeyPatch
) -> types.ModuleType:
    monkeypatch.setitem(sys.modules, "pylibpd", _module)
    return _module


def test_pylibpds_own_functions_steer_the_patch(pylibpd: types.ModuleType) -> None:
    with Patch(PATCHES / "sine.pd") as patch:
        pylibpd.libpd_float("freq", 1000.0)
        sound = patch.render(1)[64:, 0]
        assert support.frequency(sound, 44100) == pytest.approx(1000, abs=0.1)
    with Patch(PATCHES / "talk.pd") as patch:
        queue = patch.messages("out")
        pylibpd.libpd_message("in", "set", 1.0)
        assert queue.drain() == [("out", "set", (1.0,))]


def test_pylibpd_plays_one_patch_at_a_time(pylibpd: types.ModuleType) -> None:
    first = Patch(PATCHES / "sine.pd")
    with pytest.raises(PatchError, match=r"close that first, or set AUDIOSTREAM_LIBPD"):
        Patch(PATCHES / "six.pd")
    assert first.render(0.1).any()
    first.close()
    second = Patch(PATCHES / "six.pd")
    del second
    gc.collect()
    with Patch(PATCHES / "sine.pd") as third:
        assert third.carrier == "pylibpd"


def test_pylibpd_is_not_given_what_crashes_it(
    pylibpd: types.ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "latin.pd"
    path.write_bytes(b"#N canvas 0 0 1 1 12;\n#X obj 1 1 fl\xfcte~;\n#X obj 1 1 dac~;\n")
    with pytest.raises(PatchError, match="not UTF-8"):
        Patch(path)
    with pytest.warns(PatchWarning, match="fl\ufffdte~"):
        Patch(path, carrier=str(cypd_library())).close()


def test_what_the_program_subscribed_to_stays(pylibpd: types.ModuleType) -> None:
    pylibpd.libpd_subscribe("out")
    heard: list[object] = []
    try:
        with Patch(PATCHES / "talk.pd") as patch:
            with patch.messages("out") as queue:
                patch.send("in", 1)
                assert len(queue) == 1
            pylibpd.libpd_set_float_callback(lambda *message: heard.append(message))
            patch.send("in", 2)
            assert heard == [("out", 2.0)]
    finally:
        pylibpd.libpd_unsubscribe("out")


def test_after_the_patch_pylibpds_callbacks_say_nothing(pylibpd: types.ModuleType) -> None:
    with Patch(PATCHES / "midi.pd") as patch:
        queue, midi = patch.messages("x"), patch.midi()
        engine = patch._session.hold.engine
    engine.hear_print("late\n")  # type: ignore[attr-defined]
    engine.hear_midi("note_on", 0, 1, 2)  # type: ignore[attr-defined]
    engine.hear("x", "float", 1.0)  # type: ignore[attr-defined]
    assert len(queue) == len(midi) == len(patch.prints) == 0


def test_pylibpd_called_beside_a_patch_that_speaks_does_not_hang(
    pylibpd: types.ModuleType,
) -> None:
    """The interpreter changes threads inside libpd's hook, whose lock the other wants."""
    float_function = pylibpd.libpd_float
    interval = sys.getswitchinterval()
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            pylibpd.libpd_float("in", 1.0)

    with Patch(PATCHES / "talk.pd") as patch:
        queue = patch.messages("count")
        patch.send("run", 1)
        thread = threading.Thread(target=call)
        sys.setswitchinterval(1e-6)
        try:
            thread.start()
            for _ in range(300):
                patch.process(640)
        finally:
            done.set()
            sys.setswitchinterval(interval)
            thread.join()
        assert len(queue) > 300
    assert pylibpd.libpd_float is float_function


def test_what_prints_inside_pylibpd_is_no_python_code(
    pylibpd: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    callbacks = []
    set_callback = pylibpd.libpd_set_print_callback

    def noted(callback: object) -> None:
        callbacks.append(callback)
        set_callback(callback)

    monkeypatch.setattr(pylibpd, "libpd_set_print_callback", noted)
    with Patch(PATCHES / "talk.pd") as patch:
        assert patch.prints.drain() == ["print: hello there"]
        pylibpd.libpd_float("say", 5.0)
        assert patch.prints.drain() == ["said: 5"]
    (callback,) = callbacks
    assert isinstance(callback, types.BuiltinMethodType)


@pytest.mark.skipif("pylibpd" not in support.here(), reason="the stand-in's hooks are Python")
def test_a_function_taken_from_pylibpd_before_does_not_hang_beside_prints(
    pylibpd: types.ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "prints.pd"
    path.write_text(
        "#N canvas 0 0 1 1 12;\n#X obj 1 1 loadbang;\n#X obj 1 1 metro 1;\n"
        "#X obj 1 1 print;\n#X obj 1 1 dac~;\n#X connect 0 0 1 0;\n#X connect 1 0 2 0;\n"
    )
    send = pylibpd.libpd_float  # not the one that takes the lock
    interval = sys.getswitchinterval()
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            send("x", 1.0)

    with Patch(path) as patch:
        thread = threading.Thread(target=call)
        sys.setswitchinterval(1e-6)
        try:
            thread.start()
            for _ in range(1000):
                patch.process(640)
        finally:
            done.set()
            sys.setswitchinterval(interval)
            thread.join()
        assert len(patch.prints) == 1000
