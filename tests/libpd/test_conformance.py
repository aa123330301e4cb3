"""What every libpd must do: pylibpd, the system's, cypd's, and the stand-in for the first."""

from __future__ import annotations

import gc
import logging
import math
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from audiostream.errors import (
    AudioException,
    FormatError,
    PatchClosedError,
    PatchError,
    PatchIndexError,
    PatchWarning,
    StreamClosedError,
)
from audiostream.libpd import Message, Midi, Patch
from tests.libpd.conftest import Open
from tests.libpd.support import PATCHES, frequency, here

several = pytest.mark.parametrize(
    "_kind", [kind for kind in here() if kind in ("cypd", "system")], indirect=True
)
"""For libpds that play several patches at once; that pylibpd refuses is tested elsewhere."""

# --------------------------------------------------------------------------------- sound


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000, 192000])
def test_a_sine_is_heard_at_its_frequency(open_patch: Open, rate: int) -> None:
    sound = open_patch("sine", rate=rate).render(2)
    assert sound.shape == (2 * rate, 2)
    assert sound.dtype == np.float32
    for channel in sound.T:
        assert frequency(channel, rate) == pytest.approx(440, abs=0.1)
        assert np.abs(channel).max() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 64])
def test_each_channel_is_heard(open_patch: Open, channels: int) -> None:
    sound = open_patch("six", channels=channels).render(1)
    assert sound.shape == (44100, channels)
    for number, channel in enumerate(sound.T, 1):
        if number <= 6:
            assert frequency(channel, 44100) == pytest.approx(100 * number, abs=0.1)
        else:
            assert not channel.any()


@pytest.mark.parametrize("size", [1, 63, 64, 65, 441, 1000, 4096])
def test_output_does_not_depend_on_the_size_of_blocks(open_patch: Open, size: int) -> None:
    total = 8192
    with open_patch("six", channels=3) as patch:
        whole = patch.process(total)
    pieces = _in_pieces(open_patch("six", channels=3), total, size)
    assert np.array_equal(pieces, whole)


@pytest.mark.parametrize("size", [1, 17, 64, 100, 1024])
@pytest.mark.parametrize("inputs", [1, 2])
def test_input_is_heard_63_frames_later(open_patch: Open, inputs: int, size: int) -> None:
    patch = open_patch("through", inputs=inputs)
    adc = np.random.default_rng(1).uniform(-1, 1, (3000, inputs)).astype(np.float32)
    heard = np.concatenate(
        [
            patch.process(len(adc[at : at + size]), adc[at : at + size])
            for at in range(0, len(adc), size)
        ]
    )
    assert patch.input_latency == 63
    assert not heard[:63].any()
    assert np.array_equal(heard[63:, :inputs], adc[:-63])


def test_input_of_one_dimension_and_none(open_patch: Open) -> None:
    patch = open_patch("through", inputs=1)
    patch.process(10, np.full(10, 0.5))
    assert patch.process(100)[:, 0].tolist() == [0] * 53 + [0.5] * 10 + [0] * 37


def test_what_is_too_loud_is_not_clipped(open_patch: Open) -> None:
    patch = open_patch("through", channels=1, inputs=1)
    patch.process(1, [3.5])
    assert patch.process(63).max() == 3.5


def test_blocks_are_the_callers_own(open_patch: Open) -> None:
    patch = open_patch("sine")
    first = patch.process(100)
    kept = first.copy()
    assert first.flags.c_contiguous
    assert first.flags.writeable
    patch.process(100)
    assert np.array_equal(first, kept)
    assert patch.process(0).shape == (0, 2)


@pytest.mark.parametrize(
    ("frames", "adc"),
    [(-1, None), (1.5, None), (2, np.zeros((3, 2))), (2, np.zeros(2)), (2, [[1, 2], [3, 4]])],
)
def test_what_cannot_be_processed(open_patch: Open, frames: int, adc: object) -> None:
    patch = open_patch("through", inputs=2)
    with pytest.raises(FormatError):
        patch.process(frames, adc)  # type: ignore[arg-type]
    assert patch.process(5).shape == (5, 2)


@pytest.mark.parametrize(("wrong", "taken"), [(np.nan, 0), (np.inf, 1), (-np.inf, -1)])
def test_input_that_is_no_number_never_comes_to_a_filter(
    open_patch: Open, wrong: float, taken: float
) -> None:
    adc = np.full((200, 2), 0.25, np.float32)
    adc[50, 1] = wrong
    heard = open_patch("through", inputs=2).process(200, adc)
    adc[50, 1] = taken
    np.testing.assert_array_equal(heard[63:], adc[:-63])  # the latency that is documented


def test_input_without_inputs_is_refused(open_patch: Open) -> None:
    with pytest.raises(FormatError, match="inputs="):
        open_patch("sine").process(4, np.zeros((4, 1)))


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_render_refuses_what_is_no_time(open_patch: Open, seconds: float) -> None:
    with pytest.raises(FormatError, match="seconds"):
        open_patch("sine").render(seconds)


def test_abstractions_beside_the_patch_are_found(open_patch: Open) -> None:
    sound = open_patch("beside").render(1)
    assert frequency(sound[:, 0], 44100) == pytest.approx(330, abs=0.1)
    assert np.abs(sound).max() == pytest.approx(0.5, abs=1e-3)


def test_a_folder_with_spaces_and_accents(open_patch: Open, tmp_path: Path) -> None:
    folder = tmp_path / "une été, $1; {x}"
    folder.mkdir()
    for name in ("beside", "voice"):
        (folder / f"{name}.pd").write_bytes((PATCHES / f"{name}.pd").read_bytes())
    assert np.abs(open_patch(folder / "beside.pd").render(0.1)).max() > 0.4


# ------------------------------------------------------------------------------ messages


def test_a_float_changes_the_pitch(open_patch: Open) -> None:
    patch = open_patch("sine")
    patch.process(1000)
    assert patch.send("freq", 660)
    sound = patch.process(44100)[63:, 0]  # the latency that is documented
    assert frequency(sound, 44100) == pytest.approx(660, abs=0.1)


SENT = [
    ((), ("bang", ())),
    ((3,), ("float", (3.0,))),
    ((0.5,), ("float", (0.5,))),
    ((np.float32(0.25),), ("float", (0.25,))),
    ((np.int64(7),), ("float", (7.0,))),
    ((True,), ("float", (1.0,))),
    ((-1e300,), ("float", (-math.inf,))),
    (("word",), ("symbol", ("word",))),
    (("naïve ♪",), ("symbol", ("naïve ♪",))),
    ((1, "a", 2), ("list", (1.0, "a", 2.0))),
    (([1, 2, 3],), ("list", (1.0, 2.0, 3.0))),
    ((("a", "b"),), ("list", ("a", "b"))),
    ((np.arange(3),), ("list", (0.0, 1.0, 2.0))),
    (("list", "a", "b"), ("list", ("a", "b"))),
    (("set", 1, "x"), ("set", (1.0, "x"))),
    (("symbol", "x"), ("symbol", ("x",))),
    ((list(range(200)),), ("list", tuple(map(float, range(200))))),
]


@pytest.mark.parametrize(("atoms", "comes"), SENT, ids=[repr(atoms)[:30] for atoms, _ in SENT])
def test_messages_go_in_and_come_out(
    open_patch: Open, atoms: tuple[object, ...], comes: tuple[str, tuple[object, ...]]
) -> None:
    patch = open_patch("talk")
    queue = patch.messages("out")
    assert patch.send("in", *atoms)
    assert queue.drain() == [Message("out", *comes)]


def test_a_message_of_one_word(open_patch: Open) -> None:
    patch = open_patch("talk")
    with patch.messages("out") as queue:
        assert patch.message("in", "stop")
        assert queue.get() == ("out", "stop", ())


def test_nobody_receives(open_patch: Open) -> None:
    patch = open_patch("talk")
    assert not patch.send("nobody", 1)
    assert not patch.message("nobody", "stop", 1)


@pytest.mark.parametrize("atom", [None, b"bytes", {}, object(), [[1]], 1j])
def test_what_is_no_atom(open_patch: Open, atom: object) -> None:
    patch = open_patch("talk")
    queue = patch.messages("out")
    with pytest.raises(TypeError):
        patch.send("in", atom)
    with pytest.raises(TypeError):
        patch.send("in", 1, atom)
    assert patch.send("in", 1)
    assert len(queue) == 1


def test_names_and_symbols_that_pd_cannot_hold(open_patch: Open) -> None:
    patch = open_patch("talk")
    with pytest.raises(PatchError, match="null"):
        patch.send("in", "a\0b")
    with pytest.raises(PatchError, match="null"):
        patch.messages("a\0b")
    with pytest.raises(TypeError):
        patch.messages(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        patch.send(3, 1)  # type: ignore[arg-type]


def test_messages_come_while_it_plays(open_patch: Open) -> None:
    patch = open_patch("talk", rate=48000)
    queue = patch.messages("count")
    patch.send("run", 1)
    patch.process(4800)  # 100 ms, a message every 10 ms
    assert [message.atoms[0] for message in queue.drain()] == pytest.approx(range(10), abs=1)
    patch.send("run", 0)
    patch.process(4800)
    assert len(queue) <= 1


def test_subscriptions_are_apart_and_end(open_patch: Open) -> None:
    patch = open_patch("talk")
    first, second = patch.messages("out"), patch.messages("out")
    patch.send("in", 1)
    first.close()
    first.close()
    patch.send("in", 2)
    second.close()
    patch.send("in", 3)
    assert [message.atoms for message in first.drain()] == [(1.0,)]
    assert [message.atoms for message in second.drain()] == [(1.0,), (2.0,)]
    again = patch.messages("out")
    patch.send("in", 4)
    assert [message.atoms for message in again.drain()] == [(4.0,)]


def test_a_full_queue_drops_the_oldest(open_patch: Open) -> None:
    patch = open_patch("talk")
    queue = patch.messages("out", size=3)
    for number in range(5):
        patch.send("in", number)
    assert queue.dropped == 2
    assert [message.atoms[0] for message in queue.drain()] == [2, 3, 4]
    assert queue.dropped == 2


def test_notify_may_use_the_patch(open_patch: Open) -> None:
    patch = open_patch("talk")
    heard: list[object] = []

    def notify() -> None:
        for message in queue.drain():
            heard.append((threading.current_thread(), message.atoms[0]))
            if message.atoms[0] < 3:
                patch.send("in", message.atoms[0] + 1)

    queue = patch.messages("out", notify=notify)
    patch.send("in", 1)
    assert heard == [(threading.current_thread(), number) for number in (1, 2, 3)]


def test_a_notify_that_raises_is_logged(
    open_patch: Open, caplog: pytest.LogCaptureFixture
) -> None:
    patch = open_patch("talk")
    queue = patch.messages("out", notify=lambda: 1 / 0)
    assert patch.send("in", 1)
    assert len(queue) == 1
    assert "ZeroDivisionError" in caplog.text


def test_prints_are_joined_and_logged(
    open_patch: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "audiostream.puredata")
    patch = open_patch("talk")
    assert patch.prints.drain() == ["print: hello there"]
    told = []
    patch.prints.notify = lambda: told.append(patch.prints.drain())
    patch.send("say", 1, "two", 3.5)
    patch.message("say", "word")
    assert told == [["said: 1 two 3.5"], ["said: word"]]
    assert caplog.messages == ["print: hello there", "said: 1 two 3.5", "said: word"]


# ---------------------------------------------------------------------------------- MIDI


@pytest.mark.parametrize("channel", [0, 15, 16])
def test_midi_goes_in_and_comes_out(open_patch: Open, channel: int) -> None:
    patch = open_patch("midi")
    queue = patch.midi()
    patch.note_on(channel, 60, 100)
    patch.control_change(channel, 7, 101)
    patch.program_change(channel, 5)
    patch.pitch_bend(channel, -8192)
    patch.pitch_bend(channel, 8191)
    patch.aftertouch(channel, 102)
    patch.poly_aftertouch(channel, 61, 103)
    assert [event for event in queue.drain() if event.kind != "midi_byte"] == [
        Midi("note_on", channel, (60, 100)),
        Midi("control_change", channel, (7, 101)),
        Midi("program_change", channel, (5,)),
        Midi("pitch_bend", channel, (-8192,)),
        Midi("pitch_bend", channel, (8191,)),
        Midi("aftertouch", channel, (102,)),
        Midi("poly_aftertouch", channel, (61, 103)),
    ]
    queue.close()
    patch.note_on(channel, 60, 0)
    assert len(queue) == 0


def test_midi_bytes(open_patch: Open) -> None:
    patch = open_patch("midi")
    queue, sysex, clock = patch.midi(), patch.messages("sysex"), patch.messages("realtime")
    patch.midi_byte(0, 0x90)
    patch.sysex(0, b"\xf0\x01\xf7")
    patch.realtime(0, 0xF8)
    assert Midi("midi_byte", 0, (0x90,)) in queue.drain()
    assert [message.atoms[0] for message in sysex.drain()] == [0xF0, 1, 0xF7]
    assert [message.atoms[0] for message in clock.drain()] == [0xF8]


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("note_on", (-1, 60, 60)),
        ("note_on", (0, 128, 60)),
        ("note_on", (0, 60, 1.5)),
        ("control_change", (0, 0, 128)),
        ("program_change", (0, 128)),
        ("pitch_bend", (0, 8192)),
        ("aftertouch", (0, -1)),
        ("poly_aftertouch", (0, 0, 128)),
        ("midi_byte", (0, 256)),
        ("midi_byte", (4096, 0)),
        ("realtime", (0, -1)),
        ("sysex", (-1, b"\xf0")),
    ],
)
def test_midi_out_of_range(open_patch: Open, method: str, values: tuple[object, ...]) -> None:
    with pytest.raises(FormatError):
        getattr(open_patch("midi"), method)(*values)


# -------------------------------------------------------------------------------- arrays


def test_arrays(open_patch: Open) -> None:
    patch = open_patch("table")
    wave = patch.arrays["wave"]
    assert len(wave) == 100
    assert "wave" in patch.arrays
    assert not np.asarray(wave).any()
    wave[:] = np.linspace(0, 1, 100)
    assert wave[99] == wave[-1] == 1
    assert wave[:3].tolist() == pytest.approx([0, 1 / 99, 2 / 99])
    wave[10:20:3] = 7
    wave[-100] = np.float64(5)
    wave[50:50] = 1
    expected = np.linspace(0, 1, 100, dtype=np.float32)
    expected[10:20:3] = 7
    expected[0] = 5
    assert np.array_equal(np.asarray(wave), expected)
    assert list(wave) == expected.tolist()
    assert np.array_equal(wave.read(5, 7), expected[5:12])
    assert wave.read(100).shape == (0,)
    wave.write([], 100)
    assert np.asarray(wave, np.float64).dtype == np.float64
    copy = wave[:]
    copy[:] = 0
    assert np.array_equal(wave[:], expected)
    with pytest.raises(ValueError, match="copied"):
        np.asarray(wave, copy=False)
    assert "wave" in repr(wave)


def test_the_patch_and_an_array_share_it(open_patch: Open) -> None:
    patch = open_patch("table")
    patch.send("record")
    patch.process(256)
    wave = patch.arrays["wave"][:]
    assert wave == pytest.approx(np.cos(np.arange(100) * 2 * np.pi * 440 / 44100), abs=1e-3)


def test_arrays_are_resized(open_patch: Open) -> None:
    wave = open_patch("table").arrays["wave"]
    wave.resize(3)
    assert len(wave) == 3
    wave.write([1, 2, 3])
    assert wave[:].tolist() == [1, 2, 3]
    for size in (0, -1, 1 << 40):
        with pytest.raises(PatchIndexError):
            wave.resize(size)


def test_arrays_of_the_patch_alone(open_patch: Open) -> None:
    patch = open_patch("table")
    assert len(patch.arrays[f"{patch.dollar_zero}-own"]) == 8


def test_arrays_that_are_not_there(open_patch: Open) -> None:
    patch = open_patch("table")
    with pytest.raises(PatchError, match="no array 'Wave'"):
        patch.arrays["Wave"]
    with pytest.raises(PatchError, match="null"):
        patch.arrays["a\0"]
    with pytest.raises(TypeError):
        patch.arrays[3]  # type: ignore[index]
    assert "Wave" not in patch.arrays
    assert "a\0" not in patch.arrays
    assert 3 not in patch.arrays
    with pytest.raises(TypeError):
        iter(patch.arrays)  # type: ignore[call-overload]


def test_out_of_an_arrays_range(open_patch: Open) -> None:
    patch = open_patch("table")
    wave = patch.arrays["wave"]
    for index in (100, -101):
        with pytest.raises(PatchIndexError):
            wave[index]
        with pytest.raises(IndexError):
            wave[index] = 0
    for offset, count in ((0, 101), (99, 2), (-1, 1), (0, -1)):
        with pytest.raises(PatchIndexError):
            wave.read(offset, count)
    with pytest.raises(PatchIndexError):
        wave.write(np.zeros(2), 99)
    with pytest.raises(PatchError, match="dimension"):
        wave.write(np.zeros((2, 2)))
    patch.process(100)  # libpd's lock was not left taken
    assert len(wave) == 100


# -------------------------------------------------------------------------------- errors


def test_missing_objects_are_named(open_patch: Open) -> None:
    with pytest.warns(PatchWarning, match=r"nosuch~ 3 foo, other/thing \$0-a\. Put") as record:
        patch = open_patch("missing")
    assert len(record) == 1
    assert Path(record[0].filename).name == "conftest.py"  # which called Patch
    sound = patch.render(1)
    assert frequency(sound[:, 1], 44100) == pytest.approx(440, abs=0.1)


def test_missing_objects_are_an_error_if_strict(open_patch: Open) -> None:
    with pytest.raises(PatchError, match="nosuch~"):
        open_patch("missing", strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PatchWarning):
            open_patch("missing")
        open_patch("beside", strict=True)  # all that was refused is gone


def test_no_dac_is_a_warning(open_patch: Open) -> None:
    with pytest.warns(PatchWarning, match="dac~"):
        patch = open_patch("silent")
    assert not patch.render(0.1).any()


def test_a_dac_inside_an_abstraction_will_do(open_patch: Open) -> None:
    assert open_patch("inside").render(0.1).any()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no patch"),
        (b"", "not a Pure Data patch"),
        (b"\0\1\2" * 1000, "not a Pure Data patch"),
        (b"hello", "not a Pure Data patch"),
    ],
)
def test_bad_files(open_patch: Open, tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "bad.pd"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PatchError, match=says):
        open_patch(path)
    with pytest.raises(PatchError, match="folder"):
        open_patch(tmp_path)
    assert open_patch("sine").render(0.1).any()


def test_a_file_that_libpd_refuses(
    open_patch: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is gone between our look and libpd's."""
    monkeypatch.setattr("audiostream.libpd.patch.check", lambda path: path)
    with pytest.raises(PatchError, match=r"cannot open .*gone\.pd"):
        open_patch(tmp_path / "gone.pd")
    assert open_patch("sine").render(0.1).any()


def test_a_patch_cut_short_does_no_harm(open_patch: Open, tmp_path: Path) -> None:
    whole = (PATCHES / "sine.pd").read_bytes()
    for length in range(30, len(whole), 13):
        path = tmp_path / f"{length}.pd"
        path.write_bytes(whole[:length])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PatchWarning)
            with open_patch(path) as patch:
                assert patch.process(100).shape == (100, 2)


@pytest.mark.parametrize(
    "options", [{"rate": 10}, {"channels": 0}, {"channels": 65}, {"inputs": -1}]
)
def test_formats_that_cannot_be(open_patch: Open, options: dict[str, int]) -> None:
    with pytest.raises(FormatError):
        open_patch("sine", **options)


def test_a_closed_patch_says_so(open_patch: Open) -> None:
    patch = open_patch("table")
    wave, queue, midi = patch.arrays["wave"], patch.messages("out"), patch.midi()
    told = []
    queue.notify = lambda: told.append(queue.closed)
    assert not patch.closed
    with patch:
        pass
    patch.close()
    assert patch.closed
    assert told == [True]
    queue.close()
    midi.close()
    for use in (
        lambda: patch.process(0),
        lambda: patch.render(1),
        lambda: patch.send("in", 1),
        lambda: patch.note_on(0, 60, 60),
        lambda: patch.messages("out"),
        lambda: patch.midi(),
        lambda: wave[0],
        lambda: "wave" in patch.arrays,
    ):
        with pytest.raises(PatchClosedError, match="open it again"):
            use()
    assert issubclass(PatchClosedError, StreamClosedError)
    assert issubclass(PatchError, AudioException)
    assert "closed" in repr(patch)


# ----------------------------------------------------------------------------- more than one


def test_what_the_last_patch_left_is_gone(open_patch: Open) -> None:
    patch = open_patch("talk", rate=8000, channels=1, inputs=2)
    old = patch.messages("out")
    patch.send("run", 1)
    patch.send("pd", "dsp", 0)
    patch.close()
    again = open_patch("sine")
    assert not again.send("in", 1)
    assert frequency(again.render(1)[:, 0], 44100) == pytest.approx(440, abs=0.1)
    assert len(old) == 0


def test_a_dropped_patch_gives_its_engine_back(open_patch: Open, libpd: str) -> None:
    patch = Patch(PATCHES / "talk.pd", carrier=libpd)
    engine = patch._session.hold.engine
    queue = patch.messages("out")
    queue.notify = patch.close  # it knows the patch, and the patch it
    del patch, queue
    gc.collect()
    again = open_patch("sine")
    assert again._session.hold.engine is engine
    assert not again.send("in", 1)


def test_a_queue_outlives_the_patch_that_was_dropped(open_patch: Open, libpd: str) -> None:
    patch = Patch(PATCHES / "talk.pd", carrier=libpd)
    queue = patch.messages("out")
    patch.send("in", 1)
    del patch
    gc.collect()
    open_patch("sine")
    assert queue.closed
    assert len(queue.drain()) == 1
    queue.close()


@several
def test_sixteen_at_once(open_patch: Open) -> None:
    patches = [open_patch("sine", rate=44100 if i % 2 else 48000) for i in range(16)]
    for number, patch in enumerate(patches):
        patch.send("freq", 200 + 10 * number)
    sounds: list[list[np.ndarray]] = [[] for _ in patches]
    for _ in range(100):  # in turn, as a mixer asks for them
        for patch, sound in zip(patches, sounds, strict=True):
            sound.append(patch.process(441))
    for number, (patch, sound) in enumerate(zip(patches, sounds, strict=True)):
        heard = np.concatenate(sound)[64:, 0]
        assert frequency(heard, patch.rate) == pytest.approx(200 + 10 * number, abs=0.1)


def test_one_patch_from_many_threads(open_patch: Open) -> None:
    patch = open_patch("talk")
    queue = patch.messages("out", size=10_000)
    errors: list[BaseException] = []

    def use(number: int) -> None:
        try:
            for _ in range(200):
                patch.send("in", number, "x")
                assert patch.process(50 + number).shape == (50 + number, 2)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(queue) == 800
    for number in range(4):
        assert sum(message.atoms[0] == number for message in queue) == 200


@several
@pytest.mark.parametrize("hold", [0, 1], ids=["lock released", "lock kept"])
def test_patches_that_speak_in_threads_of_their_own(
    open_patch: Open, monkeypatch: pytest.MonkeyPatch, hold: float
) -> None:
    """Hooks find the interpreter whether or not the call has given it up."""
    monkeypatch.setattr("audiostream.libpd.native.HOLD", hold)
    patches = [open_patch("talk") for _ in range(4)]
    queues = [patch.messages("count") for patch in patches]
    sounds = [open_patch("six") for _ in patches]
    heard: list[np.ndarray] = []

    def play(patch: Patch, sound: Patch) -> None:
        patch.send("run", 1)
        for _ in range(100):
            patch.process(441)
        heard.append(sound.process(5000))

    threads = [
        threading.Thread(target=play, args=pair) for pair in zip(patches, sounds, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(queue) for queue in queues] == pytest.approx([100] * 4, abs=1)
    assert len(heard) == 4
    for block in heard[1:]:
        assert np.array_equal(block, heard[0])


@several
def test_the_interpreter_is_kept_for_short_calls_alone(
    open_patch: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch = open_patch("sine")
    engine = patch._session.hold.engine
    chosen: list[str] = []
    monkeypatch.setattr(engine, "_held", lambda *_: chosen.append("kept"))
    monkeypatch.setattr(engine, "_released", lambda *_: chosen.append("released"))
    patch.process(64)
    monkeypatch.setattr(engine, "_per_tick", 1.0)
    patch.process(64)
    assert chosen == ["kept", "released"]


def test_closed_while_it_computes(open_patch: Open) -> None:
    patch = open_patch("sine")
    begun = threading.Event()
    ended = []

    def play() -> None:
        try:
            while True:
                patch.process(20_000)
                begun.set()
        except PatchClosedError as error:
            ended.append(error)

    thread = threading.Thread(target=play)
    thread.start()
    assert begun.wait(10)
    patch.close()
    thread.join(10)
    assert len(ended) == 1


# ------------------------------------------------------------------------------- helpers


def _in_pieces(patch: Patch, total: int, size: int) -> np.ndarray:
    sizes = [size] * (total // size) + [total % size]
    return np.concatenate([patch.process(frames) for frames in sizes])
