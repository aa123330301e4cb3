"""A filter whose cutoff may move in each frame; audio thread.

It solves the analogue state-variable filter by the trapezoidal rule, so that it stays stable
and clean while the cutoff jumps or is modulated at audio rates.

Sources: A. Simper, "Solving the continuous SVF equations using trapezoidal integration and
equivalent currents" (cytomic.com, 2013); A. Wishnick, "Time-varying filters for musical
applications", DAFx-14, 2014 (stability).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from audiostream.kernels.decorator import kernel

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

__all__ = ("svf", "svf_response")


def svf_response(
    values: Mapping[str, float], frequencies: np.ndarray, rate: float
) -> np.ndarray:
    """The complex response at frequencies in Hz, with steady parameters; caller thread.

    It is the analogue filter's, with both frequencies warped by the tangent.
    """
    import numpy as np

    cutoff = math.tan(math.pi * min(values["cutoff"] / rate, 0.49))
    s = 1j * np.tan(np.pi * np.asarray(frequencies, np.float64) / rate) / cutoff
    k = 2.0 - 2.0 * values["resonance"]
    mix = values["low"] + values["band"] * k * s + values["high"] * s * s
    return np.asarray(mix / (1.0 + k * s + s * s))


@kernel(
    state={"z": ("f8", ("channels", 2))},
    limits={
        "cutoff": (10.0, 20_000.0),
        "resonance": (0.0, 0.99),
        "low": (-1.0, 1.0),
        "band": (-1.0, 1.0),
        "high": (-1.0, 1.0),
    },
    response=svf_response,
)
def svf(block, state, cutoff=1000.0, resonance=0.3, low=1.0, band=0.0, high=0.0, *, rate):
    """Filter with a cutoff and a resonance that may move in each frame; 12 dB an octave.

    The output is a mix of three, so that one filter can move from one kind to another:
    ``svf()`` is a low-pass, ``svf(low=0, band=1)`` a band-pass, ``svf(low=0, high=1)`` a
    high-pass, ``svf(high=1)`` a notch and ``svf(band=-1, high=1)`` an all-pass.

    Parameters
    ----------
    cutoff : Hz
        At most 0.49 of the rate is used.
    resonance : 0 to 0.99
        Q is ``1 / (2 - 2 * resonance)``: 0.3 has hardly a peak, 0.99 rings.
    low, band, high : factor
        How much of the low-pass, of the band-pass (0 dB at the cutoff) and of the high-pass.
    """
    z = state.z
    known = 0.0
    g = 0.0
    for i in range(block.shape[0]):
        if cutoff[i] != known:  # one tangent while it stands still
            known = cutoff[i]
            g = math.tan(math.pi * min(float(known) / rate, 0.49))
        k = 2.0 - 2.0 * float(resonance[i])
        a1 = 1.0 / (1.0 + g * (g + k))
        a2 = g * a1
        a3 = g * a2
        # low * v2 + band * k * v1 + high * (x - k * v1 - v2), in fewer steps
        m1 = (float(band[i]) - float(high[i])) * k
        m2 = float(low[i]) - float(high[i])
        for c in range(block.shape[1]):
            x = float(block[i, c])
            v3 = x - z[c, 1]
            v1 = a1 * z[c, 0] + a2 * v3
            v2 = z[c, 1] + a2 * z[c, 0] + a3 * v3
            z[c, 0] = 2.0 * v1 - z[c, 0]
            z[c, 1] = 2.0 * v2 - z[c, 1]
            block[i, c] = high[i] * x + m1 * v1 + m2 * v2
