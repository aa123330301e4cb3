"""``SineSource``, the documented sine wave; the event loop that sources share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from audiostream.aio.sources.waves import Sine
from audiostream.sources.background import never_blocks, output_and_voice
from audiostream.sources.thread import ThreadSource

if TYPE_CHECKING:
    from audiostream.aio.output import AudioOutput

__all__ = ("SineSource",)


class SineSource(ThreadSource):
    """A sine wave on all channels.

    Parameters
    ----------
    stream : AudioOutput
    frequency : float
        Hz.
    amplitude : float
        Peak, full scale 1.0.
    ahead : int, optional
        See :class:`ThreadSource`; a tenth of a second, or the ring if that is shorter, if
        not given.

    Raises
    ------
    FormatError
        For a frequency or an amplitude that is no finite number of at least 0.
    """

    def __init__(
        self,
        stream: AudioOutput,
        frequency: float,
        amplitude: float = 0.5,
        *args: Any,
        ahead: int | None = None,
        **kwargs: Any,
    ) -> None:
        self._sine = Sine(frequency, amplitude)
        super().__init__(stream, *args, ahead=ahead, **kwargs)
        _, voice = output_and_voice(self)
        self._sine.begin(voice.format, voice.output.kernels)

    @property
    def frequency(self) -> float:
        """Hz; set while it plays, the phase goes on from where it is.  Any thread."""
        return self._sine.frequency

    @frequency.setter
    def frequency(self, frequency: float) -> None:
        self._sine.frequency = frequency

    @property
    def amplitude(self) -> float:
        """Peak, full scale 1.0; set while it plays, it moves there in 5 ms.  Any thread."""
        return self._sine.amplitude

    @amplitude.setter
    def amplitude(self, amplitude: float) -> None:
        self._sine.amplitude = amplitude

    @never_blocks
    def get_bytes(self) -> bytes:
        """Make a block, in the output's encoding."""
        return self.encoded(self.next_block())

    def next_block(self) -> np.ndarray:
        """Make a block, float32 (frames, channels)."""
        return self._sine.render(self.block)
