"""Sound files that grow: what can be read of them at any moment, and whose they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiostream import aio
from audiostream.errors import AudioException
from audiostream.soundfiles import SoundWriter, open_sound, writer

ROOT = Path(__file__).resolve().parent.parent
SOUND = np.random.default_rng(1).uniform(-1, 1, (4800, 2)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", None),
        ("a.wav", "PCM_24"),
        ("a.wav", "IMA_ADPCM"),
        ("a.aiff", None),
        ("a.caf", None),
        ("a.w64", None),
        ("a.rf64", "FLOAT"),
        ("a.au", "ULAW"),
        ("a.flac", None),
        ("a.ogg", None),
    ],
)
def test_all_that_was_written_is_there(
    tmp_path: Path, name: str, subtype: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    soundfile.write(tmp_path / f"at once {name}", np.tile(SOUND, (3, 1)), 48000, subtype)
    expected, _ = soundfile.read(tmp_path / f"at once {name}", dtype="float32")
    for refresh in (0.0, 1e9):  # a header after each block, and at the end
        monkeypatch.setattr(writer, "REFRESH", refresh)
        with SoundWriter(str(path), 48000, 2, subtype) as file:
            for _ in range(3):
                file.write(SOUND)
        file.close()
        assert file.frames == 14400
        sound, _ = soundfile.read(path, dtype="float32")
        assert np.array_equal(sound[:14400], expected[:14400])


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.caf", "a.w64", "a.rf64", "a.au"])
def test_the_header_is_true_while_it_grows(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "REFRESH", 0.0)
    with SoundWriter(str(tmp_path / name), 48000, 2) as file:
        for number in range(1, 4):
            file.write(SOUND)
            assert soundfile.info(tmp_path / name).frames == number * 4800


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.flac", "a.ogg"])
def test_a_killed_program_leaves_all_but_the_last_second(tmp_path: Path, name: str) -> None:
    program = f"""
import sys, time
import numpy as np
from audiostream.soundfiles import SoundWriter, writer
writer.REFRESH = 0.0
file = SoundWriter({str(tmp_path / name)!r}, 48000, 1)
second = np.sin(np.arange(48000) / 20).astype(np.float32) / 2
for _ in range(5):
    file.write(second)
print("written", flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    with open_sound(tmp_path / name) as file:
        sound, _ = file.read_all()
    assert 4 * 48000 <= len(sound) <= 5 * 48000
    assert np.abs(sound[:, 0] - np.sin(np.arange(len(sound)) % 48000 / 20) / 2).max() < 0.1


def test_a_file_has_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with SoundWriter(str(path), 48000, 2) as file:
        file.write(SOUND)
        with pytest.raises(AudioException, match="another output or recording"):
            SoundWriter(str(path), 48000, 2)
        with pytest.raises(AudioException, match="being written"):
            aio.get_output(device=f"file:{path}").open_blocking()
        file.write(SOUND)
    assert soundfile.info(path).frames == 9600
    with (
        aio.get_output(device=f"file:{path}"),
        pytest.raises(AudioException, match="another output or recording"),
    ):
        SoundWriter(str(path), 48000, 2)
    SoundWriter(str(path), 48000, 2).close()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.wav")
    kept = tmp_path / "kept.wav"
    kept.write_bytes(b"kept")
    for name, subtype, said in (
        ("fifo.wav", None, "no ordinary file"),
        ("", None, "no ordinary file"),
        ("none/a.wav", None, "no folder"),
        ("a.xyz", None, "try a name such as"),
        ("a.wav", "VORBIS", "try a name such as"),
        ("kept.wav", "VORBIS", "try a name such as"),
    ):
        with pytest.raises(AudioException, match=said):
            SoundWriter(str(tmp_path / name), 48000, 2, subtype)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo.wav", "kept.wav"]
    assert kept.read_bytes() == b"kept"
    SoundWriter(str(kept), 48000, 2).close()  # it is free


@pytest.mark.parametrize("name", ["full.wav", "full.flac"])
def test_a_disk_that_is_full_is_told_of(tmp_path: Path, name: str) -> None:
    program = """
import resource, signal, sys
import numpy as np
from audiostream.errors import AudioException
from audiostream.soundfiles import SoundWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
file = SoundWriter(sys.argv[1], 48000, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    for _ in range(10):
        file.write(np.random.uniform(-1, 1, (48000, 1)).astype(np.float32))
except AudioException as error:
    print(error)
try:
    file.close()
except AudioException as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / name)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert f"{name} cannot be written" in done.stdout
    assert done.stderr == ""


def test_a_name_that_moves_does_not_move_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "REFRESH", 0.0)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other" / "a.wav"
    soundfile.write(other, SOUND[:10], 48000)
    with SoundWriter("a.wav", 48000, 2) as file:
        monkeypatch.chdir(tmp_path / "other")
        file.write(SOUND)
        (tmp_path / "a.wav").rename(tmp_path / "b.wav")
        soundfile.write(tmp_path / "a.wav", SOUND[:20], 48000)
        file.write(SOUND)
    frames = [soundfile.info(path).frames for path in (other, "../a.wav", "../b.wav")]
    assert frames == [10, 20, 9600]


@pytest.mark.parametrize("subtype", ["PCM_S8", "ULAW"])
def test_an_odd_number_of_bytes_adds_none(
    tmp_path: Path, subtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libsndfile counts AIFF's padding as a frame when it opens the file again."""
    monkeypatch.setattr(writer, "REFRESH", 0.0)
    path = tmp_path / "a.aiff"
    blocks = [np.full((37, 1), n / 8, np.float32) for n in range(1, 6)]
    with SoundWriter(str(path), 48000, 1, subtype) as file:
        for block in blocks:
            file.write(block)
    sound, _ = soundfile.read(path, dtype="float32")
    assert np.abs(sound[:185] - np.concatenate(blocks)[:, 0]).max() < 0.05
