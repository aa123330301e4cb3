"""``record``, ``record_to`` and ``playrec``, on devices of their own; event loop."""

from __future__ import annotations

import contextlib
import logging
import math
from collections import deque
from typing import Any, Literal, overload

import anyio
import anyio.to_thread
import numpy as np

from audiostream.aio.blocks import as_dtype, check_dtype
from audiostream.aio.errors import EndOfStream
from audiostream.aio.handle import Handle, Work
from audiostream.aio.input import AudioInput
from audiostream.aio.output import AudioOutput
from audiostream.aio.playback import format_of
from audiostream.checks import check_flag, check_number, check_path, shown
from audiostream.device.base import Device
from audiostream.engine.sample_input import as_array
from audiostream.errors import AudioException, DeviceError, FormatError
from audiostream.pcm import check_rate
from audiostream.soundfiles import SoundWriter

__all__ = ("RecordHandle", "Recording", "playrec", "record", "record_to")

QUEUE = 30.0
"""Seconds that may wait to be recorded: a disk or a program may be busy that long."""

LONGEST = 1e6
"""Seconds that can be recorded: more than eleven days."""

PIECE = 0.25
"""Seconds that are written to a file at a time."""

LEAD = 0.5
"""Seconds from the opening of both devices to the first frame that is played and recorded: the
smoothed clocks are some frames apart before."""


def _frames_of(seconds: Any, rate: Any) -> int:
    return round(check_number(seconds, "seconds", 0, LONGEST, "try 5.0") * check_rate(rate))


def _lost(mic: AudioInput) -> str:
    """What was not read in time."""
    return f"{mic.dropped} frames ({mic.dropped / mic.rate:.2f} s) were not read in time"


def _tell_of_lost(mic: AudioInput) -> None:
    if mic.dropped:
        logging.getLogger("audiostream").warning(
            "the recording has a gap: %s; was the program or the disk busy for %g s?",
            _lost(mic),
            QUEUE,
        )


class Recording(Work):
    """One recording to a file, from an input of its own."""

    name = "recording"
    _stream: AudioInput
    _file: SoundWriter | None

    def __init__(
        self,
        path: Any,
        seconds: float | None,
        rate: int,
        channels: int,
        source: str | int | Device,
        subtype: str | None,
    ) -> None:
        super().__init__()
        self._path = check_path(path, "path", '"recording.wav"')
        self._subtype = subtype
        self._left = math.inf if seconds is None else _frames_of(seconds, rate)
        self._stream = AudioInput(None, source, rate, channels, 32, queue=QUEUE)
        self._blocks: deque[np.ndarray] = deque()  # read, and not written yet

    def _open(self) -> None:
        mic = self._stream
        mic.open_blocking()  # first: what the file held before is kept if there is no device
        self._file = SoundWriter(self._path, mic.rate, mic.channels, self._subtype)

    async def _run(self) -> None:
        mic = self._stream
        unwritten = 0
        try:
            while self._left:
                block = self._empty()
                unwritten += self._keep(block, await mic.readinto(block))
                if unwritten >= PIECE * mic.rate:
                    unwritten = 0
                    await anyio.to_thread.run_sync(self._write)
        except EndOfStream:
            pass  # of a file
        finally:
            try:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._finish)
            finally:
                self._finish()  # what asyncio's own cancellation has kept that thread from
            _tell_of_lost(mic)

    def _empty(self) -> np.ndarray:
        """An array for what is read next."""
        frames = min(self._stream.buffersize, self._left)
        return np.empty((int(frames), self._stream.channels), np.float32)

    def _keep(self, block: np.ndarray, frames: int) -> int:
        self._blocks.append(block[:frames])
        self._left -= frames
        return frames

    def _read_rest(self) -> None:
        """Take what was recorded before a stop, in whole buffers."""
        engine = self._stream.engine
        with contextlib.suppress(AudioException):  # of a device that is gone, or a file's end
            while self._left:
                block = self._empty()
                frames = engine.take_into(block)
                if frames is None:
                    break
                self._keep(block, frames)

    def _write(self) -> None:
        """Write what was read.  A thread that does so when its task is cancelled goes on."""
        with self._lock:
            self._write_blocks()

    def _finish(self) -> None:
        """Write all that was recorded before a stop."""
        with self._lock:
            try:
                self._read_rest()
            finally:
                self._write_blocks()

    def _write_blocks(self) -> None:
        while self._blocks and self._file is not None:
            self._file.write(self._blocks.popleft())

    @property
    def position(self) -> float:
        """Seconds that are in the file."""
        return self.outcome / self._stream.rate

    @property
    def outcome(self) -> int:
        """Frames in the file."""
        return 0 if self._file is None else self._file.frames


class RecordHandle(Handle):
    """What ``record_to(wait=False)`` returns; any thread."""

    async def wait(self) -> int:
        """Wait until it has ended; the frames that are in the file.

        Cancelled, it only waits no longer.

        Raises
        ------
        NoDeviceError, DeviceError
            If the device could not be opened, or went meanwhile.
        AudioException
            If the file cannot be written.
        """
        await self._job.ended()
        return int(self._outcome())


async def record(
    seconds: float,
    rate: int = 48000,
    channels: int = 1,
    *,
    source: str | int | Device = "default",
    dtype: Any = "float32",
) -> np.ndarray:
    """Record for so many seconds, from an input of its own.

    Parameters
    ----------
    seconds : float
    rate, channels : int
        Of what is returned.
    source : str, int or Device
        As for :func:`get_input`.
    dtype : str or dtype
        "float32" or "float64" (full scale 1.0), "int16" or "int8".

    Returns
    -------
    ndarray (frames, channels)
        Fewer frames only if the source is a file that ends.

    Raises
    ------
    FormatError
        For a value that cannot be used, and for more than fits into memory.
    NoDeviceError, DeviceError
        If the device cannot be opened, or goes meanwhile.
    """
    kind = check_dtype(dtype)
    frames = _frames_of(seconds, rate)
    encoding = min(8 * kind.itemsize, 32)
    mic = AudioInput(None, source, rate, channels, encoding, queue=QUEUE)
    try:
        recorded = np.zeros((frames, mic.channels), mic.engine.format.dtype)
    except (MemoryError, ValueError):
        raise FormatError(
            f"seconds={seconds:g} are more than fit into memory; record_to() writes a file"
        ) from None
    done = 0
    async with mic:
        with contextlib.suppress(EndOfStream):
            while done < frames:
                done += await mic.readinto(recorded[done : done + mic.buffersize])
        _tell_of_lost(mic)
    return as_dtype(recorded[:done], kind)


@overload
async def record_to(
    path: Any,
    *,
    seconds: float | None = None,
    rate: int = 48000,
    channels: int = 1,
    source: str | int | Device = "default",
    subtype: str | None = None,
    wait: Literal[True] = True,
) -> int: ...
@overload
async def record_to(
    path: Any,
    *,
    seconds: float | None = None,
    rate: int = 48000,
    channels: int = 1,
    source: str | int | Device = "default",
    subtype: str | None = None,
    wait: Literal[False],
) -> RecordHandle: ...
async def record_to(
    path: Any,
    *,
    seconds: float | None = None,
    rate: int = 48000,
    channels: int = 1,
    source: str | int | Device = "default",
    subtype: str | None = None,
    wait: bool = True,
) -> int | RecordHandle:
    """Record to a sound file, for so many seconds or until it is cancelled or stopped.

    The file is complete once this returns or is cancelled.  Before, also if the process is
    killed, all but the last second of a WAV, AIFF, CAF, AU, W64 or RF64 file can be read.

    Parameters
    ----------
    path : str or PathLike
        Of any format that soundfile writes, named by its suffix, such as ``.wav`` or ``.flac``.
        What the file held before is gone.
    seconds : float, optional
        None: until it is cancelled or stopped.
    rate, channels : int
    source : str, int or Device
        As for :func:`get_input`.
    subtype : str, optional
        soundfile's name of the file's encoding, such as "PCM_24".
    wait : bool
        False: return once it begins, with a handle.

    Returns
    -------
    int or RecordHandle
        Frames in the file; with ``wait=False``, the handle.

    Raises
    ------
    FormatError
        For a value that cannot be used.
    AudioException
        If soundfile is not installed, or the file cannot be written.
    NoDeviceError, DeviceError
        If the device cannot be opened, or goes meanwhile.
    """
    wait = check_flag(wait, "wait")
    work = Recording(path, seconds, rate, channels, source, subtype)
    await work.aopen()
    if not wait:
        return RecordHandle(work)
    await work.run()
    return work.outcome


async def playrec(
    sound: np.ndarray,
    rate: int,
    *,
    channels: int = 1,
    device: str | int | Device = "default",
    source: str | int | Device = "default",
    gain: float = 1.0,
) -> np.ndarray:
    """Play an array and record at the same time, aligned by the latency that is measured.

    Frame ``i`` of what is returned was captured when frame ``i`` of the array was heard: what
    comes later is the way from the speaker to the microphone.

    Parameters
    ----------
    sound : ndarray (frames,) or (frames, channels)
    rate : int
        Frames per second (Hz) of both.
    channels : int
        To record.
    device, source : str, int or Device
        As for :func:`get_output` and :func:`get_input`; with one clock, so both of one host
        API.
    gain : float
        Factor on the sound, 0 to 1000.

    Returns
    -------
    ndarray (frames, channels)
        float32, as many frames as the array; fewer if the source is a file that ends.

    Raises
    ------
    FormatError
        For a value that cannot be used.
    AudioException
        If the devices have no clock in common.
    NoDeviceError, DeviceError
        If a device cannot be opened, or goes meanwhile.
    """
    sound = as_array(sound)
    if not isinstance(sound, np.ndarray):
        raise FormatError(f"sound={shown(sound)} is no numpy array")
    format = format_of(sound, rate)
    gain = check_number(gain, "gain", 0, 1000, "1.0 is as it is")
    speaker = AudioOutput(rate, format.channels, 32, device=device, voices=1)
    mic = AudioInput(None, source, rate, channels, 32, queue=QUEUE)
    async with speaker, mic:
        loaded = await speaker.aload(sound, rate)
        if abs(speaker.time - mic.time) > 1:
            raise AudioException(
                f"{device!r} and {source!r} have no clock in common; take both of one host API"
            )
        start = speaker.time + LEAD + speaker.latency
        playing = loaded.play(at=start, gain=gain)
        if playing.late:
            raise DeviceError("the output's clock has jumped; try again")
        recorded = await _recorded_from(mic, start, len(sound))
        await playing.finished()
    return recorded


async def _recorded_from(mic: AudioInput, start: float, frames: int) -> np.ndarray:
    """What an input has captured from a time on."""
    recorded = np.zeros((frames, mic.channels), np.float32)
    block = np.empty((mic.buffersize, mic.channels), np.float32)
    done = 0
    with contextlib.suppress(EndOfStream):
        while done < frames:
            filled = await mic.readinto(block)
            skip = 0 if done else max(round((start - mic.chunk_time) * mic.rate), 0)
            taken = block[min(skip, filled) : filled][: frames - done]
            recorded[done : done + len(taken)] = taken
            done += len(taken)
    if mic.dropped:
        raise AudioException(
            f"{_lost(mic)}, and what comes after them is not aligned; was the program busy?"
        )
    return recorded[:done]
