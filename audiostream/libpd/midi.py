"""MIDI into a patch; any thread."""

from __future__ import annotations

from typing import Any

from audiostream.checks import check_integer, shown
from audiostream.errors import FormatError

__all__ = ("MidiIn",)

_CHANNELS = range(0x1000 * 16)
_PORTS = range(0x1000)
_SEVEN_BITS = range(0x80)
_BYTES = range(0x100)
_BEND = range(-8192, 8192)


class MidiIn:
    """What sends MIDI to a patch.

    Channels count from 0 on, 16 to a port: 0 is what [notein] calls channel 1.  Values
    outside of what MIDI has raise :class:`~audiostream.errors.FormatError`.
    """

    def _midi(self, kind: str, *values: int) -> None:
        raise NotImplementedError

    def note_on(self, channel: int, pitch: int, velocity: int) -> None:
        """Send a note to [notein]; velocity 0 ends it."""
        self._midi(
            "note_on",
            _check(channel, "channel", _CHANNELS),
            _check(pitch, "pitch", _SEVEN_BITS),
            _check(velocity, "velocity", _SEVEN_BITS),
        )

    def control_change(self, channel: int, controller: int, value: int) -> None:
        """Send a controller's value to [ctlin]."""
        self._midi(
            "control_change",
            _check(channel, "channel", _CHANNELS),
            _check(controller, "controller", _SEVEN_BITS),
            _check(value, "value", _SEVEN_BITS),
        )

    def program_change(self, channel: int, program: int) -> None:
        """Send a program, 0 to 127, to [pgmin], which counts from 1 on."""
        self._midi(
            "program_change",
            _check(channel, "channel", _CHANNELS),
            _check(program, "program", _SEVEN_BITS),
        )

    def pitch_bend(self, channel: int, value: int) -> None:
        """Send a bend, -8192 to 8191, to [bendin], which shows 0 to 16,383."""
        self._midi(
            "pitch_bend",
            _check(channel, "channel", _CHANNELS),
            _check(value, "value", _BEND),
        )

    def aftertouch(self, channel: int, value: int) -> None:
        """Send a channel's pressure to [touchin]."""
        self._midi(
            "aftertouch",
            _check(channel, "channel", _CHANNELS),
            _check(value, "value", _SEVEN_BITS),
        )

    def poly_aftertouch(self, channel: int, pitch: int, value: int) -> None:
        """Send a key's pressure to [polytouchin]."""
        self._midi(
            "poly_aftertouch",
            _check(channel, "channel", _CHANNELS),
            _check(pitch, "pitch", _SEVEN_BITS),
            _check(value, "value", _SEVEN_BITS),
        )

    def midi_byte(self, port: int, byte: int) -> None:
        """Send one raw byte to [midiin]."""
        self._midi("midi_byte", _check(port, "port", _PORTS), _check(byte, "byte", _BYTES))

    def sysex(self, port: int, data: bytes) -> None:
        """Send the bytes of a system exclusive message to [sysexin], one after the other."""
        for byte in _bytes_of(data):  # all of it is checked before any of it is sent
            self._midi("sysex", _check(port, "port", _PORTS), byte)

    def realtime(self, port: int, byte: int) -> None:
        """Send a system realtime byte, such as 0xF8 for a clock, to [midirealtimein]."""
        self._midi("realtime", _check(port, "port", _PORTS), _check(byte, "byte", _BYTES))


def _check(value: int, name: str, allowed: range) -> int:
    return check_integer(value, name, least=allowed[0], most=allowed[-1])


def _bytes_of(data: Any) -> list[int]:
    """The bytes of a message, given as bytes or as numbers."""
    try:
        values = list(data)
    except TypeError:
        raise FormatError(f"data={shown(data)} is no bytes; try b'...'") from None
    return [_check(byte, "a byte of data", _BYTES) for byte in values]
