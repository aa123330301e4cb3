"""Every exception that audiostream raises, under one base, for any thread.

Messages say what was wrong and what to try instead.  The three errors that
anyio's stream interfaces promise have subclasses in :mod:`audiostream.aio`
that are anyio's errors as well.
"""

from __future__ import annotations

__all__ = (
    "AudioException",
    "AudioTimeoutError",
    "BusyError",
    "DeviceError",
    "EndOfStream",
    "FormatError",
    "KernelError",
    "NoDeviceError",
    "NoLibpdError",
    "PatchClosedError",
    "PatchError",
    "PatchIndexError",
    "PatchWarning",
    "StreamClosedError",
    "WouldBlock",
)


class AudioException(Exception):
    """Base of every error of this library."""


class FormatError(AudioException, ValueError):
    """A rate, channel count, encoding, buffer size or chunk that cannot be used."""


class KernelError(AudioException):
    """A function that cannot run on the audio thread, or that failed there."""


class StreamClosedError(AudioException):
    """The stream, or the sample on it, is closed."""


class BusyError(AudioException):
    """Another task or thread is already using this in a way that excludes others."""


class WouldBlock(AudioException):
    """There is no room now, and the call must not wait."""


class EndOfStream(AudioException):
    """The source came to its end; there is nothing more to read."""


class AudioTimeoutError(AudioException, TimeoutError):
    """What a blocking call waited for did not come within its ``timeout``."""


class DeviceError(AudioException):
    """An audio device failed, or refused what was asked of it.

    Attributes
    ----------
    code : int or None
        PortAudio's error number, where PortAudio reported the failure.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class NoDeviceError(DeviceError):
    """There is no such audio device, or none at all."""


class PatchError(AudioException):
    """A Pure Data patch that cannot be used as asked, or libpd refused something."""


class NoLibpdError(PatchError):
    """No libpd that can be used was found, or not the one that was asked for."""


class PatchClosedError(PatchError, StreamClosedError):
    """The patch is closed."""


class PatchIndexError(PatchError, IndexError):
    """Outside of an array of the patch."""


class PatchWarning(UserWarning):
    """A patch was opened, but will not sound as intended."""
