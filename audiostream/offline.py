"""Renders what would be played, faster than real time, to an array or a file; caller thread."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from audiostream.aio.output import AudioOutput
from audiostream.checks import check_callable, check_integer, check_number, check_path, shown
from audiostream.device.manual import ManualDevice
from audiostream.errors import FormatError
from audiostream.soundfiles import SoundWriter

__all__ = ("render",)

FOREVER = 1 << 62

LONGEST = 86400.0
"""Seconds: a day."""


def render(
    make: Callable[[AudioOutput], object],
    seconds: float,
    rate: int = 48000,
    channels: int = 2,
    *,
    blocks: int = 256,
    to: Any = None,
    subtype: str | None = None,
    progress: Callable[[float], object] | None = None,
) -> Any:
    """Render what a function schedules, through the same graph as a live output; blocks.

    The output's clock starts at 0, with the first frame.  The result is bit for bit that of a
    :class:`~audiostream.testing.ManualDevice` stepped in blocks of the same size, but that a
    device limits it to full scale, -1.0 to 1.0.

    Parameters
    ----------
    make : function
        Plain, of an open :class:`~audiostream.aio.AudioOutput`: it loads, plays and schedules,
        with ``at=`` seconds.  It runs once, before the first frame.  A generator function goes
        on when the time that it yields is reached (seconds on the clock): so a long piece
        keeps to the 64 values that may wait for their time on each voice.
    seconds : float
        How much to render, up to a day.
    rate, channels : int
        Of the result.
    blocks : int
        Frames that are rendered at a time.
    to : str or PathLike, optional
        Write to this file, of any format that soundfile writes, named by its suffix; this needs
        ``pip install audiostream[files]``.
    subtype : str, optional
        soundfile's name of the file's encoding, such as "PCM_24".
    progress : function, optional
        Called with the share that is done, 0.0 to 1.0, about a hundred times.

    Returns
    -------
    ndarray or int
        Float32 (frames, channels), which may be beyond -1.0 to 1.0; with `to`, the frames
        written.  A file of integers is limited.

    Raises
    ------
    FormatError
        For a value that cannot be used.
    AudioException
        If the file cannot be written.
    """
    if inspect.iscoroutinefunction(make) or inspect.isasyncgenfunction(make):
        raise FormatError(
            f"make={shown(make)} is a coroutine function, and no time passes in it; write a "
            "plain def that schedules with at="
        )
    check_callable(make, "make", "of an output, def make(speaker): ...")
    seconds = check_number(seconds, "seconds", 0, LONGEST, "try 10.0")
    blocks = check_integer(blocks, "blocks", "frames", least=1, most=65536, hint="256")
    if progress is not None:
        check_callable(progress, "progress", "of the share that is done")
    parts = _parts(make, seconds, rate, channels, blocks, progress)
    if to is None:
        if subtype is not None:
            raise FormatError(f"subtype={shown(subtype)} is for a file; give to= as well")
        made = list(parts)
        return np.concatenate(made) if made else np.zeros((0, channels), np.float32)
    with SoundWriter(check_path(to, "to", '"song.flac"'), rate, channels, subtype) as file:
        for part in parts:
            file.write(part)
    return file.frames


def _parts(
    make: Callable[[AudioOutput], object],
    seconds: float,
    rate: int,
    channels: int,
    blocks: int,
    progress: Callable[[float], object] | None,
) -> Iterator[np.ndarray]:
    """What is rendered, about a hundredth at a time."""
    device = ManualDevice(buffersize=blocks)
    speaker = AudioOutput(rate, channels, 32, blocks, device=device)
    speaker.engine.may_wait = lambda: True  # on an event loop, too, which render() blocks
    total = round(seconds * rate)
    at_a_time = max(math.ceil(total / 100 / blocks), 1) * blocks
    with speaker:
        speaker.engine.record[0]["unlimited"] = 1
        made = make(speaker)
        later = made if inspect.isgenerator(made) else iter(())
        done = resumes = 0
        while done < total:
            if resumes <= done:
                resumes = _next_time(later, done, rate)
            count = min(at_a_time, total - done, resumes - done)
            yield device.step(count)
            done += count
            if progress is not None:
                progress(done / total)


def _next_time(later: Iterator[Any], done: int, rate: int) -> int:
    """Let a generator go on until it yields; the frame at which it goes on again."""
    for at in later:
        hint = "yield a time after the one before, in seconds"
        at = check_number(at, "what make yields", 0, LONGEST, hint)
        if round(at * rate) <= done:
            raise FormatError(
                f"make yields {at:g} s at {done / rate:g} s; {hint} of the clock, not a pause"
            )
        return round(at * rate)
    return FOREVER
