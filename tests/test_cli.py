"""The command line and the demo, run as programs; what they play is analysed."""

from __future__ import annotations

import importlib.metadata
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from matplotlib.image import imread
from typer.testing import CliRunner

import audiostream
from audiostream.cli import app

traced = pytest.mark.usefixtures("traced_children")
"""For coverage of what only this program runs; it takes twice as long."""

ROOT = Path(audiostream.__file__).parent.parent
SPEECH = ROOT / "audiostream" / "data" / "speech.wav"
LIMIT = 90  # seconds

COMMAND = (sys.executable, "-W", "error", "-m", "audiostream")

NO_HARDWARE = """
import sys
from audiostream.__main__ import main
from audiostream.device import portaudio
from audiostream.errors import NoDeviceError

def find(name, direction):
    raise NoDeviceError(f"there is no audio {direction} device at all")

portaudio.find = find
main()
"""
"""The command line on a machine without sound hardware, even if this one has some."""

on_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals and ttys")

# --- helpers, for test_examples.py as well -------------------------------------------


def environment(**variables: str) -> dict[str, str]:
    """This process's environment, without what would choose devices, plus `variables`."""
    kept = "AUDIOSTREAM_CACHE"  # with the kernels that conftest.py has compiled
    clean = {
        k: v for k, v in os.environ.items() if k == kept or not k.startswith("AUDIOSTREAM_")
    }
    clean.pop("FORCE_COLOR", None)
    clean["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), clean.get("PYTHONPATH"))))
    return clean | variables


def run(
    *command: str | Path, cwd: Path, code: int = 0, stderr: str | None = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its exit code and what it says on stderr must be these."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert stderr is None or done.stderr == stderr
    return done


def spectrum(wave: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (Hz) and magnitudes of a mono wave, padded to 1 Hz or finer."""
    size = max(len(wave), rate)
    return np.fft.rfftfreq(size, 1 / rate), np.abs(
        np.fft.rfft(wave * np.hanning(len(wave)), size)
    )


def stands_out(wave: np.ndarray, rate: int, hertz: float) -> bool:
    """True if a note is heard: 20 dB above what is a semitone below and above it."""
    frequencies, magnitudes = spectrum(wave, rate)

    def near(frequency: float) -> float:
        return float(magnitudes[np.abs(frequencies - frequency) <= 1].max())

    semitone = 2 ** (1 / 12)
    return near(hertz) > 10 * max(near(hertz / semitone), near(hertz * semitone))


def match_above(
    hertz: float, wave: np.ndarray, part: np.ndarray, rate: int
) -> tuple[float, float]:
    """Where in a wave a part is (seconds), and their correlation there (up to 1), of only
    what is above a frequency."""
    size = len(wave) + len(part)
    low = np.fft.rfftfreq(size, 1 / rate) < hertz
    a, b = np.fft.rfft(wave, size), np.fft.rfft(part, size)
    a[low] = b[low] = 0
    power = np.sqrt(np.sum(np.abs(a) ** 2) * np.sum(np.abs(b) ** 2)) / size * 2
    correlation = np.fft.irfft(a * b.conj(), size)
    best = int(correlation.argmax())
    return best / rate, float(correlation[best] / power)


def speech_at(rate: int, seconds: float | None = None) -> np.ndarray:
    """The packaged recording, or the beginning of it, at a rate."""
    speech, own = soundfile.read(SPEECH, dtype="float32")
    if seconds is not None:
        speech = speech[: round(seconds * own)]
    return np.asarray(soxr.resample(speech, own, rate))


def hertz_of(key: int) -> float:
    """Frequency of a key as MIDI numbers them."""
    return 440 * 2 ** ((key - 69) / 12)


# --- the demo ------------------------------------------------------------------------

SECONDS = 1.2  # of speech: 60 chunks of 20 ms


@dataclass(frozen=True)
class Played:
    said: str
    stderr: str
    folder: Path

    @property
    def wave(self) -> np.ndarray:
        """What was played, (frames, 2) at 48 kHz, from its first sound to its last."""
        audio, rate = soundfile.read(self.folder / "audiostream-demo.wav", dtype="float32")
        assert rate == 48000
        heard = np.flatnonzero(np.abs(audio).max(axis=1))
        return np.asarray(audio[heard[0] : heard[-1] + 1])


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The demo on a machine without sound hardware."""
    folder = tmp_path_factory.mktemp("demo")
    done = run(
        *(sys.executable, "-W", "error", "-c", NO_HARDWARE),
        *("demo", "--seconds", str(SECONDS), "--backend", request.param),
        cwd=folder,
        stderr=None,
    )
    return Played(done.stdout, done.stderr, folder)


def test_demo_says_that_virtual_devices_stand_in(played: Played) -> None:
    assert played.stderr == ""
    assert "No speaker here: a virtual one renders to the file." in played.said
    assert "No microphone here: a virtual one plays a recording of speech." in played.said
    assert "Played: audiostream-demo.wav" in played.said
    assert "To look at: audiostream-demo.png" in played.said


@pytest.mark.parametrize(
    ("row", "microphone", "speaker"),
    [
        ("callbacks", "[1-9][0-9]*", "[1-9][0-9]*"),
        ("frames", "[1-9][0-9]*", "[1-9][0-9]*"),
        ("rate", "16000 Hz", "48000 Hz"),
        ("device underruns", "-", "0"),
        ("device overruns", "0", "-"),
        ("starved frames", "-", "[0-9]+"),
        ("late callbacks", "[0-9]+", "[0-9]+"),
        ("longest callback", r"[0-9]+\.[0-9]+ ms", r"[0-9]+\.[0-9]+ ms"),
        ("wake-ups", "[1-9][0-9]*", "[1-9][0-9]*"),
        ("dropped frames", "[0-9]+", "-"),
        ("wake-up latency, p50", r"[0-9]+\.[0-9]+ ms", "-"),
        ("wake-up latency, p99", r"[0-9]+\.[0-9]+ ms", "-"),
    ],
)
def test_demo_table(played: Played, row: str, microphone: str, speaker: str) -> None:
    assert re.search(rf"│ {row} +│ +{microphone} │ +{speaker} │", played.said), played.said


def test_demo_plays_the_speech(played: Played) -> None:
    # The melody's notes and overtones all lie below 4 kHz.
    mono = played.wave.mean(axis=1)
    seconds, correlation = match_above(4000, mono, speech_at(48000, SECONDS), 48000)
    assert correlation > 0.95
    # All voices begin within a block or two, of 1,024 frames.
    assert seconds == pytest.approx(1.0, abs=0.1)


def test_demo_plays_the_melody(played: Played) -> None:
    wave = played.wave
    first = wave[2400:21600]  # of the first half second, all of whose notes go on
    for key in (76, 60, 64, 67, 48):
        assert stands_out(first.mean(axis=1), 48000, hertz_of(key)), key
    last = wave[-60000:-12000]
    for key in (84, 60, 64, 67, 48):
        assert stands_out(last.mean(axis=1), 48000, hertz_of(key)), key
    assert not stands_out(last.mean(axis=1), 48000, hertz_of(81))
    # The tune stands to the right.
    left, right = (
        magnitudes[np.abs(frequencies - hertz_of(84)) <= 1].max()
        for frequencies, magnitudes in (spectrum(side, 48000) for side in last.T)
    )
    assert right / left == pytest.approx(1.4, rel=0.02)


def test_demo_does_not_clip(played: Played) -> None:
    assert 0.4 < np.abs(played.wave).max() < 0.95
    assert len(played.wave) / 48000 > 1 + SECONDS + 1.4


def test_demo_draws_a_picture(played: Played) -> None:
    pixels = imread(played.folder / "audiostream-demo.png")[..., :3]
    assert pixels.shape == (750, 1200, 3)
    spectrogram = pixels[360:680, 100:1000]
    assert spectrogram.std() > 0.2  # bright lines on a dark ground
    waveform = pixels[80:290, 100:1000]
    blue = (waveform[..., 2] > waveform[..., 0] + 0.3).mean()
    assert 0.05 < blue < 0.6


@on_posix
@traced
def test_demo_on_a_terminal_shows_levels_and_a_second_output(tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "demo", "--seconds", "0.5", "--device", "null", "--backend", "trio"],
        cwd=tmp_path,
        env=environment(AUDIOSTREAM_INPUT=f"file:{SPEECH}", TERM="xterm", COLUMNS="100"),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    said = b""
    try:
        while block := os.read(ours, 65536):
            said += block
    except OSError:  # how Linux tells the end of a terminal
        assert said
    finally:
        os.close(ours)
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(LIMIT) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())
    for name in ("microphone", "speech", "tune", "chords", "bass"):
        assert re.search(rf"{name} +[━╸╺ ]+ +-?[0-9]+ dB", text), name
    assert re.search(r"┃ +microphone ┃ +speaker ┃ +file ┃", text)
    assert "null" in text
    assert soundfile.info(tmp_path / "audiostream-demo.wav").duration > 3


@on_posix
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("moment", ["Recording", "Playing"])
def test_demo_ends_cleanly_at_ctrl_c(
    request: pytest.FixtureRequest, tmp_path: Path, moment: str, backend: str
) -> None:
    if moment == "Playing":
        request.getfixturevalue("traced_children")
    source, seconds = ("null", "60") if moment == "Recording" else (f"file:{SPEECH}", "0.5")
    process = subprocess.Popen(
        [*COMMAND, "demo", "--seconds", seconds, "--backend", backend],
        cwd=tmp_path,
        env=environment(AUDIOSTREAM_INPUT=source, AUDIOSTREAM_OUTPUT="null"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(moment):
            break
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=LIMIT)
    assert errors == ""
    assert rest.splitlines()[-1] == "Stopped."
    assert process.returncode == 130
    if moment == "Playing":
        soundfile.read(tmp_path / "audiostream-demo.wav")  # complete, if short


@traced
def test_demo_of_a_source_that_ends_early(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", speech_at(16000, 0.3), 16000)
    done = run(
        *(*COMMAND, "demo", "--seconds", "2", "--source", "file:short.wav"),
        *("--device", "file:heard.wav", "--output", "heard.wav", "--picture", "seen.png"),
        cwd=tmp_path,
    )
    assert "The microphone's sound ended before that." in done.stdout
    assert "Played: heard.wav" in done.stdout
    assert not re.search(r"┃ +file ┃", done.stdout)  # the speaker is the file
    assert (tmp_path / "seen.png").is_file()


# --- what goes wrong -----------------------------------------------------------------


@pytest.mark.parametrize("option", ["--device", "--source"])
def test_demo_never_replaces_a_device_asked_for_by_name(tmp_path: Path, option: str) -> None:
    other = ("--source", "null") if option == "--device" else ("--device", "null")
    done = run(
        *(*COMMAND, "demo", option, "file:none/at/all.wav", *other),
        cwd=tmp_path,
        code=1,
        stderr=None,
    )
    assert done.stderr.startswith("audiostream: ")
    assert done.stderr.count("\n") == 1
    assert "No " not in done.stdout


def test_demo_never_replaces_a_device_of_the_environment(tmp_path: Path) -> None:
    done = run(
        *(*COMMAND, "demo"),
        cwd=tmp_path,
        code=1,
        stderr=None,
        AUDIOSTREAM_OUTPUT="file:none/at/all.wav",
    )
    assert done.stderr.startswith("audiostream: cannot write")


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (("--output", "heard.mp3"), "heard.wav"),
        (("--picture", "seen.jpg"), "seen.png"),
        (("--output", "none/heard.wav"), "make it first"),
        (("--backend", "curio"), "trio"),
        (("--seconds", "0"), "0.5"),
    ],
)
def test_demo_refuses_before_it_records(options: tuple[str, ...], advice: str) -> None:
    done = CliRunner().invoke(app, ["demo", *options], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert advice in done.stderr
    assert done.stdout == ""


@traced
@pytest.mark.parametrize("module", ["matplotlib", "rich", "soundfile", "typer"])
def test_missing_extras_are_named(tmp_path: Path, module: str) -> None:
    program = f"""
import sys
sys.modules[{module!r}] = None
from audiostream.__main__ import main
main()
"""
    done = run(
        *(sys.executable, "-W", "error", "-c", program, "demo"),
        cwd=tmp_path,
        code=1,
        stderr=None,
    )
    assert "python -m pip install 'audiostream[cli,files]'" in done.stderr
    assert "Traceback" not in done.stderr


@traced
def test_missing_trio_is_named(tmp_path: Path) -> None:
    program = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "trio" else find(name, *rest)
from audiostream.__main__ import main
main()
"""
    done = run(
        *(sys.executable, "-W", "error", "-c", program, "demo", "--backend", "trio"),
        cwd=tmp_path,
        code=2,
        stderr=None,
    )
    assert "python -m pip install trio" in done.stderr


def test_other_missing_modules_are_not_blamed_on_the_extras(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["anyio"] = None
from audiostream.__main__ import main
main()
"""
    done = run(sys.executable, "-c", program, cwd=tmp_path, code=1, stderr=None)
    assert "ModuleNotFoundError" in done.stderr


# --- the other commands --------------------------------------------------------------


@traced
def test_devices(tmp_path: Path) -> None:
    lines = run(*COMMAND, "devices", cwd=tmp_path).stdout.splitlines()
    inputs = lines.index("Inputs (--source):")
    for part in lines[:inputs], lines[inputs:]:
        names = [line.split()[0] for line in part if line.startswith("  ")]
        assert names[0] == "default"
        assert {"null", "file:PATH.wav", "loopback:NAME"} <= set(names)


def test_devices_without_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiostream.device.portaudio.input_names", list)
    monkeypatch.setattr("audiostream.device.portaudio.output_names", list)
    done = CliRunner().invoke(app, ["devices"])
    assert done.stdout.count("(no sound hardware found)") == 2


def test_version() -> None:
    try:
        expected = importlib.metadata.version("audiostream")
    except importlib.metadata.PackageNotFoundError:
        expected = "(not installed"
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith(f"audiostream {expected}")


def test_help_without_arguments() -> None:
    assert "demo" in CliRunner().invoke(app, []).output


def test_recording_is_packaged_and_small() -> None:
    info = soundfile.info(SPEECH)
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    assert 3 < info.duration <= 4
    assert SPEECH.stat().st_size < 150_000
