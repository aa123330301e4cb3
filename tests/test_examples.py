"""Every example, run as a program on virtual devices; what it plays is analysed."""

from __future__ import annotations

import re
import sys
import textwrap
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiostream.errors import NoLibpdError
from audiostream.libpd.backends import BACKENDS
from tests.test_cli import ROOT, SPEECH, run, spectrum, speech_at

EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="the examples are in the source tree, not in the package"
)


def example(name: str, *arguments: str, cwd: Path, **variables: str) -> str:
    """Run an example; returns what it printed."""
    command = (sys.executable, "-W", "error", str(EXAMPLES / name), *arguments)
    return run(*command, cwd=cwd, **variables).stdout


def heard(path: Path) -> tuple[np.ndarray, int]:
    """A file as mono, and its rate."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return audio.mean(axis=1), rate


def best_match(part: np.ndarray, wave: np.ndarray) -> tuple[float, int]:
    """How like a part the stretch of a wave most like it is (1: the same), and its frame."""
    size = len(wave) + len(part)
    products = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(part, size).conj(), size)
    squares = np.concatenate(([0.0], np.cumsum(np.square(wave, dtype=np.float64))))
    power = squares[len(part) :] - squares[: -len(part)]
    likeness = products[: len(power)] / np.sqrt((power + 1e-6) * np.sum(np.square(part)))
    best = int(likeness.argmax())
    return float(likeness[best]), best


def in_order(said: np.ndarray, played: np.ndarray) -> float:
    """Which part of 1.2 s of speech is heard, in order.

    A gap moves all that follows it, so tenths of a second are looked for one by one, and the
    few with a gap inside do not count.
    """
    tenths = [tenth for tenth in said.reshape(12, -1) if np.abs(tenth).max() > 0.05]
    matches = [best_match(tenth, played) for tenth in tenths]
    found = [frame for likeness, frame in matches if likeness > 0.97]
    assert found == sorted(found)
    return len(found) / len(tenths)


def pitches(played: np.ndarray, rate: int, frames: int) -> list[tuple[float, float]]:
    """When (seconds) and how high (Hz) it sounds, block by block from its first sound on."""
    found = []
    first, last = np.flatnonzero(played)[[0, -1]]
    for start in range(first, last - frames, frames):
        block = played[start : start + frames]
        gap = np.mean(block == 0) > 0.05  # from a machine that was held up
        if np.abs(block).max() > 0.05 and not gap:
            hertz, magnitudes = spectrum(block, rate)
            found.append(((start + frames / 2) / rate, float(hertz[magnitudes.argmax()])))
    return found


def has_gaps(played: np.ndarray) -> bool:
    """True if a pause of the machine left silence within the sound."""
    first, last = np.flatnonzero(played)[[0, -1]]
    silent = np.concatenate(([0], (played[first:last] == 0).astype(int), [0]))
    edges = np.flatnonzero(np.diff(silent))
    return bool((np.diff(edges)[::2] >= 16).any())


def needs_libpd() -> None:
    """Skip where there is none at all."""
    try:
        BACKENDS.choose()
    except NoLibpdError as error:
        pytest.skip(str(error))


def test_every_example_has_its_test_and_its_line() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    tests = Path(__file__).read_text(encoding="utf-8")
    for name in names:
        assert f"[{name}]({name})" in readme
        if not name.endswith("_server.py"):  # which the example beside it starts
            assert f'example("{name}"' in tests.replace("(\n        ", "(")


def test_echo(anyio_backend: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "said.wav", speech_at(16000, 1.2), 16000)
    example(
        "echo.py",
        anyio_backend,
        cwd=tmp_path,
        AUDIOSTREAM_INPUT="file:said.wav",
        AUDIOSTREAM_OUTPUT="file:heard.wav",
    )
    played, rate = heard(tmp_path / "heard.wav")
    assert rate == 48000
    # The voice starts with nothing in hand, so a chunk that comes late leaves a gap.
    assert in_order(speech_at(rate, 1.2), played) > 0.5


def test_play_tone(tmp_path: Path) -> None:
    example("play_tone_asyncio.py", "0.5", cwd=tmp_path, AUDIOSTREAM_OUTPUT="file:heard.wav")
    played, rate = heard(tmp_path / "heard.wav")
    assert np.count_nonzero(played) >= 0.45 * rate
    hertz, magnitudes = spectrum(played, rate)
    loudest = hertz[magnitudes.argmax()]
    other = hertz[np.where(np.abs(hertz - loudest) > 50, magnitudes, 0).argmax()]
    assert sorted((loudest, other)) == pytest.approx([440, 660], abs=3)


def test_blocking_write(tmp_path: Path) -> None:
    example("blocking_write.py", "0.15", cwd=tmp_path, AUDIOSTREAM_OUTPUT="file:heard.wav")
    played, rate = heard(tmp_path / "heard.wav")
    assert rate == 22050
    notes: list[int] = []
    scale = np.array((262, 294, 330, 349, 392, 440, 494, 523))
    for start in range(0, len(played) - 1024, 512):
        block = played[start : start + 1024]
        if np.abs(block).max() < 0.1:
            continue
        hertz, magnitudes = spectrum(block, rate)
        note = int(scale[np.abs(scale - hertz[magnitudes.argmax()]).argmin()])
        if note not in notes:
            notes.append(note)
    assert notes == scale.tolist()


def test_record_and_play(tmp_path: Path) -> None:
    said = example(
        "record_and_play.py",
        *("r.flac", "0.6"),
        cwd=tmp_path,
        AUDIOSTREAM_INPUT=f"file:{SPEECH}",
        AUDIOSTREAM_OUTPUT="file:heard.wav",
    )
    assert said == "r.flac: 28800 frames\n"
    assert soundfile.info(tmp_path / "r.flac").frames == 28800
    played, rate = heard(tmp_path / "heard.wav")  # the last of two
    assert rate == 16000
    speech, _ = soundfile.read(SPEECH, frames=9600)
    assert in_order(speech[::-1], played) > 0.9


def test_record_poll(tmp_path: Path) -> None:
    said = example(
        "record_poll.py", "r.wav", "0.6", cwd=tmp_path, AUDIOSTREAM_INPUT=f"file:{SPEECH}"
    )
    with wave.open(str(tmp_path / "r.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        recorded = file.readframes(file.getnframes())
    assert said == f"r.wav: {len(recorded) / 32000:.2f} s\n"
    assert len(recorded) / 32000 == pytest.approx(0.6, abs=0.02)
    with wave.open(str(SPEECH)) as file:
        assert recorded == file.readframes(len(recorded) // 2)


def test_devices(tmp_path: Path) -> None:
    lines = example("devices.py", cwd=tmp_path).splitlines()
    assert "device='default'" in lines
    assert "source='default'" in lines


def glides_two_octaves(path: Path, rate: int) -> None:
    """One sine that goes upwards from 220 Hz and not beyond 880; as loud as it begins.

    A machine that stands still for a while leaves gaps, and skips a part of the way.
    """
    played, own = heard(path)
    assert own == rate
    hertz = np.array([pitch for _, pitch in pitches(played, rate, rate // 32)])
    assert 210 < hertz.min() < 300
    assert 500 < hertz.max() < 900
    assert np.argmin(hertz) < np.argmax(hertz)
    assert np.mean(np.diff(hertz) >= -3) > 0.7
    if not has_gaps(played):  # then no step came late, or only by the 21 ms that are ahead
        assert (np.diff(hertz) >= -3).all()  # 3 Hz: what the spectrum of such a block is off
    assert np.abs(played).max() == pytest.approx(0.5, abs=0.001)


def test_sine_blocking(tmp_path: Path) -> None:
    example("sine_blocking.py", "1.2", cwd=tmp_path, AUDIOSTREAM_OUTPUT="file:heard.wav")
    glides_two_octaves(tmp_path / "heard.wav", 44100)


def test_sine_asyncio(anyio_backend: str, tmp_path: Path) -> None:
    example(
        "sine_asyncio.py",
        anyio_backend,
        "1.2",
        cwd=tmp_path,
        AUDIOSTREAM_OUTPUT="file:heard.wav",
    )
    glides_two_octaves(tmp_path / "heard.wav", 48000)


def test_file_thread_source(tmp_path: Path) -> None:
    left = speech_at(22050, 1.2)
    soundfile.write(tmp_path / "said.wav", np.column_stack((left, -left / 2)), 22050)
    example(
        "file_thread_source.py", "said.wav", cwd=tmp_path, AUDIOSTREAM_OUTPUT="file:heard.wav"
    )
    said, _ = soundfile.read(tmp_path / "said.wav", dtype="int16")
    played, rate = soundfile.read(tmp_path / "heard.wav", dtype="int16")
    assert (rate, played.shape[1]) == (22050, 2)
    # Tenths of a second, bit for bit: a busy machine may leave a gap in some of them.
    found = [played.tobytes().find(tenth.tobytes()) for tenth in np.split(said, 12)]
    found = [place for place in found if place >= 0]
    assert len(found) > 3
    assert found == sorted(found)


def test_file_asyncio(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "said.flac", speech_at(16000, 1.2), 16000)
    example("file_asyncio.py", "said.flac", cwd=tmp_path, AUDIOSTREAM_OUTPUT="file:heard.wav")
    sides, rate = soundfile.read(tmp_path / "heard.wav", dtype="float32")
    assert rate == 48000
    assert np.array_equal(sides[:, 0], sides[:, 1])
    assert in_order(speech_at(rate, 1.2), sides[:, 0]) > 0.3


def test_record_asyncio(tmp_path: Path) -> None:
    said = example(
        "record_asyncio.py", "r.wav", "0.61", cwd=tmp_path, AUDIOSTREAM_INPUT=f"file:{SPEECH}"
    )
    assert said == "r.wav: 0.61 s, 0 frames lost\n"
    with wave.open(str(tmp_path / "r.wav")) as file, wave.open(str(SPEECH)) as speech:
        assert file.getparams()[:4] == (1, 2, 16000, 9760)
        assert file.readframes(9760) == speech.readframes(9760)


def test_record_asyncio_ends_with_its_source(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "said.wav", speech_at(16000, 0.25), 16000)
    said = example(
        "record_asyncio.py", "r.wav", "5", cwd=tmp_path, AUDIOSTREAM_INPUT="file:said.wav"
    )
    assert said == "r.wav: 0.25 s, 0 frames lost\n"
    assert np.array_equal(heard(tmp_path / "r.wav")[0], heard(tmp_path / "said.wav")[0])


NOTES = (220.0, 261.63, 329.63, 440.0)  # Hz


def plays_the_notes(path: Path, rate: int) -> None:
    """They come in their order, and then silence; one may fall into a pause of the machine."""
    played, own = heard(path)
    assert own == rate
    notes = [
        note
        for _, hertz in pitches(played, rate, rate // 16)
        for note in NOTES
        if hertz == pytest.approx(note, abs=1)
    ]
    assert notes == sorted(notes)
    assert len(set(notes)) > 2
    if not has_gaps(played):
        assert min(notes.count(note) for note in NOTES) >= 2
    assert not played[-rate // 20 :].any()
    assert np.abs(played).max() == pytest.approx(0.3, abs=0.001)


def test_patch_blocking(tmp_path: Path) -> None:
    needs_libpd()
    said = example(
        "patch_blocking.py", "0.3", cwd=tmp_path, AUDIOSTREAM_OUTPUT="file:heard.wav"
    )
    assert said == "".join(
        f"note {note}: {hertz:.2f} Hz\n"
        for note, hertz in zip((57, 60, 64, 69), NOTES, strict=True)
    )
    plays_the_notes(tmp_path / "heard.wav", 44100)


def test_patch_asyncio(anyio_backend: str, tmp_path: Path) -> None:
    needs_libpd()
    said = example(
        "patch_asyncio.py",
        anyio_backend,
        "0.3",
        cwd=tmp_path,
        AUDIOSTREAM_OUTPUT="file:heard.wav",
    )
    assert said == "".join(f"{hertz:.2f} Hz\n" for hertz in NOTES)
    plays_the_notes(tmp_path / "heard.wav", 48000)


def someone_interrupts(folder: Path) -> dict[str, str]:
    """Devices that are files: silence, a second of speech, and silence again."""
    silence = np.zeros(16000, np.int16)
    words = soundfile.read(SPEECH, dtype="int16")[0][:16000]
    said = np.concatenate([silence, words, silence])
    soundfile.write(folder / "said.wav", said, 16000, subtype="PCM_16")
    return {"AUDIOSTREAM_INPUT": "file:said.wav", "AUDIOSTREAM_OUTPUT": "file:heard.wav"}


def check_barge_in(folder: Path, printed: str) -> None:
    """The milliseconds that were sent back are those that the recording has."""
    told = re.fullmatch(r"'long' was heard for (\d+) ms\n", printed)
    assert told is not None
    heard_ms = int(told[1])
    played, rate = heard(folder / "heard.wav")
    assert rate == 48000
    # Two stretches of sound: what was cut, and the few words after it.
    sounding = np.flatnonzero(played)
    gaps = np.flatnonzero(np.diff(sounding) > rate // 100)
    assert len(gaps) >= 1
    cut = sounding[gaps[0]] + 1 - sounding[0]
    assert 500 < heard_ms < 5000
    # The resampler begins a little before its first frame, and a fade ends at 0.
    assert cut * 1000 / rate == pytest.approx(heard_ms, abs=1.5)
    if len(gaps) == 1:  # no pause of the machine in what is said afterwards
        rest = sounding[-1] + 1 - sounding[gaps[0] + 1]
        assert rest / rate == pytest.approx(0.5, abs=0.003)


def test_barge_in(tmp_path: Path) -> None:
    printed = example("barge_in.py", cwd=tmp_path, **someone_interrupts(tmp_path))
    check_barge_in(tmp_path, printed)


def test_the_barge_in_of_the_readme_is_short_and_runs(tmp_path: Path) -> None:
    shown = []
    for page in ("README.md", "docs/control.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        shown += [block for block in blocks if "async def converse" in block]
    assert len(shown) == 2
    assert shown[0] == shown[1]
    assert len(shown[0].splitlines()) < 40
    # It leaves what is to come after the last message to its reader.
    program = (
        shown[0]
        + "        await voice.drain()\n"
        + textwrap.dedent(
            f"""
        async def main():
            import sys
            sys.path.insert(0, {str(EXAMPLES)!r})
            from barge_in_server import serving
            async with serving() as url:
                await converse(url)

        asyncio.run(main())
        """
        )
    )
    devices = someone_interrupts(tmp_path)
    printed = run(sys.executable, "-W", "error", "-c", program, cwd=tmp_path, **devices)
    check_barge_in(tmp_path, printed.stdout)


def test_echo_cancel(tmp_path: Path) -> None:
    """The agent's own voice is all that the microphone hears, and next to nothing is left."""
    said = example("echo_cancel.py", "3", cwd=tmp_path)
    lines = re.findall(
        r"(\d) s: echo (-\d+\.\d) dB, left (-\d+\.\d) dB, attenuated by (\d+\.\d) dB; "
        r"the speaker's peak: (-\d+) dB\n",
        said,
    )
    assert [line[0] for line in lines] == ["1", "2", "3"], said
    assert all(-40 < float(line[1]) < -15 for line in lines), "it heard the agent"
    assert float(lines[-1][3]) > 30, "dB"
    assert -20 < int(lines[-1][4]) < 0


PHRASE = (110.0, 110.0, 220.0, 164.81, 196.0, 130.81, 146.83, 164.81, 110.0)  # Hz


def is_the_phrase(path: Path, tempo: int) -> None:
    """Each note has its pitch in the middle of its beat, counted from the end; the first may
    have come late on a machine that stood still.
    """
    played, rate = heard(path)
    beat = rate * 60 / tempo
    end = np.flatnonzero(played)[-1] + 1
    found = []
    for beats in (6.0, 5.5, 5.0, 4.5, 4.0, 3.5, 3.0, 2.5, 2.0):
        start = round(end - (beats - 0.15) * beat)
        hertz, magnitudes = spectrum(played[start : start + round(0.2 * beat)], rate)
        peaks = np.flatnonzero(
            (magnitudes[1:-1] > magnitudes[:-2])
            & (magnitudes[1:-1] > magnitudes[2:])
            & (magnitudes[1:-1] > 0.3 * magnitudes.max())
        )
        found.append(float(hertz[1 + peaks[0]]))  # the lowest of the loud partials
    assert found[1:] == pytest.approx(PHRASE[1:], rel=0.05)
    assert 0.1 < np.abs(played).max() < 1.0


def test_synthesizer_renders_its_phrase(tmp_path: Path) -> None:
    said = example("synthesizer.py", "--render", "heard.wav", cwd=tmp_path)
    assert said == "heard.wav: 3.27 s\n"
    is_the_phrase(tmp_path / "heard.wav", 110)
    played, rate = heard(tmp_path / "heard.wav")
    assert np.abs(played[-rate // 50 :]).max() < 0.05, "the last note was released"


def test_synthesizer_plays_its_phrase(tmp_path: Path) -> None:
    example("synthesizer.py", "--tempo=150", cwd=tmp_path, AUDIOSTREAM_OUTPUT="file:heard.wav")
    is_the_phrase(tmp_path / "heard.wav", 150)


def test_microphone_equaliser(tmp_path: Path) -> None:
    """Speech passes, louder at 3 kHz; a quiet hiss after it is turned down."""
    hiss = np.random.default_rng(1).uniform(-0.001, 0.001, 48000)  # -65 dB
    said = np.concatenate([speech_at(48000, 1.2), hiss])
    soundfile.write(tmp_path / "said.wav", said, 48000, subtype="PCM_24")
    printed = example(
        "microphone_equaliser.py",
        "--seconds=2.1",
        cwd=tmp_path,
        AUDIOSTREAM_INPUT="file:said.wav",
        AUDIOSTREAM_OUTPUT="file:heard.wav",
    )
    lines = re.findall(r" *(-\d+\.\d) dB, peak +(-?\d+\.\d) dB, gate (open|closed)\n", printed)
    assert len(lines) == len(printed.splitlines()) == 8
    states = [line[2] for line in lines]
    assert states == sorted(states, reverse=True), "open, then closed"
    assert states[-1] == "closed"
    assert float(lines[-1][0]) < -90, "-71 dB RMS, 40 dB less"
    played, rate = heard(tmp_path / "heard.wav")
    assert rate == 48000
    assert np.abs(played).max() > 0.2


def test_own_effect_on_a_saw(tmp_path: Path) -> None:
    """A partial f becomes f - 300 and f + 300; nothing is left of f."""
    example("own_effect.py", "--hertz=300", cwd=tmp_path, AUDIOSTREAM_OUTPUT="file:heard.wav")
    said = example("own_effect.py", "--hertz=300", "--render", "made.wav", cwd=tmp_path)
    assert said == "made.wav: 2.00 s\n"
    for path in ("made.wav", "heard.wav"):
        played, rate = heard(tmp_path / path)
        first = np.flatnonzero(played)[0]
        hertz, magnitudes = spectrum(played[first : first + rate // 2], rate)

        def level(f: float, hertz: Any = hertz, magnitudes: Any = magnitudes) -> float:
            return float(magnitudes[np.abs(hertz - f) < 5].max())

        assert level(520) > 30 * level(220)
        assert level(80) > 30 * level(220)
        assert level(520) == pytest.approx(level(80), rel=0.1)


def test_own_effect_on_a_file(tmp_path: Path) -> None:
    said = speech_at(48000, 0.5)
    soundfile.write(tmp_path / "said.wav", said, 48000, subtype="FLOAT")
    example("own_effect.py", "said.wav", "--hertz=100", "--render", "made.flac", cwd=tmp_path)
    played, _ = heard(tmp_path / "made.flac")
    wanted = said * np.sin(2 * np.pi * 100 / 48000 * np.arange(len(said)))
    np.testing.assert_allclose(played, wanted, atol=1e-3)
