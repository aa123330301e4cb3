"""``play``: a sound in one line, on an output of its own; event loop."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np

from audiostream.aio.handle import Handle, Work
from audiostream.aio.output import AudioOutput
from audiostream.aio.sample import AudioSample
from audiostream.aio.sources.file import File
from audiostream.checks import check_flag, check_number, shown
from audiostream.device.base import Device
from audiostream.engine.sample_input import as_array, channels_of, of_array
from audiostream.errors import FormatError
from audiostream.pcm import Format
from audiostream.soundfiles import is_sound_file

__all__ = ("PlayHandle", "Playback", "format_of", "play")

BUFFER = 2.0
"""Seconds of sound that are ready to be played: a program that is busy that long is not heard.
A stop does not wait for them."""

PIECE = 0.25
"""Seconds of sound that are there before it starts, and of a short loop that are written at a
time."""


def format_of(sound: np.ndarray, rate: int | None) -> Format:
    """The format of an array that is to be played.

    Raises
    ------
    FormatError
        If it cannot be played, or its rate is missing.
    """
    if rate is None:
        raise FormatError(
            "rate is missing: how many frames a second the array has, such as rate=48000"
        )
    format = Format(rate, channels_of(sound), 32)
    of_array(sound[:1], format)  # of a dtype that can be played
    if not len(sound):
        raise FormatError("the array has no frame; there is nothing to play")
    return format


class Playback(Work):
    """One sound on an output of its own."""

    name = "playing"
    _stream: AudioOutput
    _file: File | None

    def __init__(
        self,
        what: Any,
        rate: int | None,
        device: str | int | Device,
        gain: float,
        loop: bool,
        *,
        copy: bool,
    ) -> None:
        super().__init__()
        self._gain = check_number(gain, "gain", 0, 1000, "1.0 is as it is")
        self._loop = check_flag(loop, "loop")
        self._device = device
        self._voice: AudioSample | None = None
        self._is_heard = False
        self._what = what = as_array(what)
        if isinstance(what, np.ndarray):
            if copy:
                self._what = what.copy()
            self._format = format_of(what, rate)
        elif not is_sound_file(what):
            raise FormatError(
                f"what={shown(what)} is nothing to play; try the path of a sound file, or a "
                "numpy array with rate="
            )
        elif rate is not None:
            raise FormatError("rate= is for arrays; a file says its own")

    def _open(self) -> None:
        if not isinstance(self._what, np.ndarray):
            self._file = File(self._what, self._loop)
            self._format = self._file._own_format
        rate, channels = self._format.rate, self._format.channels
        self._stream = AudioOutput(rate, channels, 32, device=self._device, voices=1)
        self._stream.open_blocking()

    async def _run(self) -> None:
        speaker, file = self._stream, self._file
        channels = speaker.channels
        if file is not None:
            # A device of fewer gets them by the layout that the file tells.
            channels = min(channels, speaker.device_channels)
        self._voice = voice = speaker.sample(channels=channels, buffer=BUFFER, prebuffer=PIECE)
        voice.gain = self._gain
        if file is not None:
            await voice.write_from(file, ahead=round(BUFFER * speaker.rate))
        else:
            await self._write_array(voice, self._what)
        await voice.drain()
        self._is_heard = True

    async def _write_array(self, voice: AudioSample, sound: np.ndarray) -> None:
        least = round(PIECE * self._format.rate)
        if self._loop and len(sound) < least:  # no Python for each round of a short one
            sound = np.concatenate([sound] * -(-least // len(sound)))
        await voice.write(sound)
        while self._loop:
            await voice.write(sound)

    @property
    def position(self) -> float:
        """Seconds of it that were heard, of a loop in all its rounds."""
        return 0.0 if self._voice is None else self._voice.position / self._format.rate

    @property
    def outcome(self) -> bool:
        """True once it was heard to its end."""
        return self._is_heard


class PlayHandle(Handle):
    """What ``play(wait=False)`` returns; any thread."""

    async def wait(self) -> bool:
        """Wait until it has ended; True if it was heard to its end, False if it was stopped.

        Cancelled, it only waits no longer.

        Raises
        ------
        NoDeviceError, DeviceError
            If the device could not be opened, or went meanwhile.
        AudioException
            If the file is damaged.
        """
        await self._job.ended()
        return bool(self._outcome())


@overload
async def play(
    what: Any,
    rate: int | None = None,
    *,
    device: str | int | Device = "default",
    gain: float = 1.0,
    loop: bool = False,
    wait: Literal[True] = True,
) -> None: ...
@overload
async def play(
    what: Any,
    rate: int | None = None,
    *,
    device: str | int | Device = "default",
    gain: float = 1.0,
    loop: bool = False,
    wait: Literal[False],
) -> PlayHandle: ...
async def play(
    what: Any,
    rate: int | None = None,
    *,
    device: str | int | Device = "default",
    gain: float = 1.0,
    loop: bool = False,
    wait: bool = True,
) -> PlayHandle | None:
    """Play a sound file or an array on an output of its own, and wait until it was heard.

    The output has the rate and channels of the sound.  Cancelled, it fades out over 5 ms.

    Parameters
    ----------
    what : str, PathLike, bytes-like, binary file object or ndarray
        A sound file, its content, or an array of shape (frames,) or (frames, channels), of a
        dtype that :meth:`AudioSample.write_nowait` takes.  A file is read as it plays.
    rate : int
        Frames per second (Hz) of an array; for arrays only.
    device : str, int or Device
        As for :func:`get_output`.
    gain : float
        Factor on it, 0 to 1000.
    loop : bool
        True: again and again, without a gap, until it is cancelled or stopped.
    wait : bool
        False: return once it begins, with a handle.

    Returns
    -------
    PlayHandle
        If `wait` is False.

    Raises
    ------
    FormatError
        For a value that cannot be used.
    AudioException
        If the file cannot be read.
    NoDeviceError, DeviceError
        If the device cannot be opened, or goes meanwhile.
    """
    wait = check_flag(wait, "wait")
    work = Playback(what, rate, device, gain, loop, copy=not wait)
    await work.aopen()
    if not wait:
        return PlayHandle(work)
    await work.run()
    return None
