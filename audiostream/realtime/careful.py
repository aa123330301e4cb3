"""The mixer's long way, as functions that the short way calls by address; audio thread.

They are compiled apart from the callback (:func:`~audiostream.realtime.inlined.far`): what is
seldom gone through need not be inlined, and the two halves are compiled side by side.
"""

from __future__ import annotations

from audiostream.realtime.atomics import load, load_acquire, stream_at, voice_at
from audiostream.realtime.envelope import add_levels, pass_time, piece
from audiostream.realtime.inlined import far
from audiostream.realtime.voice import cut, is_calm, mix_voice, obey

__all__ = ("add_at_levels", "becomes_calm", "cut_voice", "mix_careful", "obey_now", "rest")


@far
def mix_careful(stream_address: int, address: int, mix: int, frames: int) -> None:
    """Add a voice's next frames to the block at `mix`, whatever is going on with it."""
    stream = stream_at(stream_address)
    mix_voice(stream, voice_at(address), address, mix, frames, load(stream, "frames"))


@far
def becomes_calm(stream_address: int, address: int) -> bool:
    """Carry out what is due; True if that was all there was to do, such as a ramp's start."""
    stream = stream_at(stream_address)
    voice = voice_at(address)
    changes = load_acquire(voice, "changes")
    obey(stream, voice, address, load(stream, "frames"), 0, 1)
    if not is_calm(voice, address):
        return False
    voice["calm"] = changes
    return True


@far
def obey_now(stream_address: int, address: int, done: int, frames: int) -> int:
    """Carry out what is due `done` frames into a block; how far it is until there is more."""
    stream = stream_at(stream_address)
    return obey(stream, voice_at(address), address, load(stream, "frames"), done, frames)


@far
def cut_voice(stream_address: int, address: int, to: int) -> None:
    """Have a voice jump to the index `to`, with the next frame of the device's."""
    stream = stream_at(stream_address)
    cut(stream, voice_at(address), address, to, load(stream, "frames"))


@far
def add_at_levels(
    stream_address: int, address: int, mix: int, source: int, frames: int
) -> None:
    """Add frames at `source` to the block at `mix`, at the levels of a voice."""
    stream = stream_at(stream_address)
    voice = voice_at(address)
    done = 0
    while done < frames:
        count = piece(voice, address, frames - done)
        offset = 4 * stream["channels"] * done
        add_levels(stream, voice, address, mix + offset, source + offset, count, 1.0, 0.0)
        done += count


@far
def rest(address: int, frames: int) -> None:
    """Move along all ways of a voice by frames in which nothing sounds."""
    pass_time(voice_at(address), address, frames)
