"""White and pink noise; audio thread.

Each channel has its own noise.  The numbers come from a generator of 32 bits that repeats after
2^32 - 1 of them: after 12 hours of stereo at 48 kHz.  It is kept in an int64 and masked, since
neither numba nor numpy keeps a shifted 32-bit number at 32 bits.

Sources: G. Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8(14), 2003; P. Kellet's
"refined" filter for pink noise (music-dsp mailing list, 1999), copied at
https://www.firstpr.com.au/dsp/pink-noise/.
"""

from __future__ import annotations

import random

from audiostream.kernels.decorator import kernel

__all__ = ("noise", "pink")

MASK = 0xFFFFFFFF

SCALE = 2.0**-31
"""From 1 ... 2^32 - 1 to -1 ... 1, after 1 is taken away."""


def seeded(state, rate, channels, seed=None):
    """Begin with a seed; caller thread."""
    state.random = random.Random(seed).getrandbits(32) or 1  # 0 would stay 0


def xorshift(x):
    """The number after this one; never 0."""
    x ^= (x << 13) & MASK
    x ^= x >> 17
    x ^= (x << 5) & MASK
    return x


@kernel(state={"random": "i8"}, limits={"level": (0.0, 1.0)}, init=seeded)
def noise(block, state, level=0.5):
    """Generate white noise, evenly distributed.

    ``noise(seed=1)`` gives the same noise each time, ``noise()`` another one each time.

    Parameters
    ----------
    level : factor
        The peak; 1 is full scale.
    """
    x = state.random
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            x = xorshift(x)
            block[i, c] = level[i] * (x * SCALE - 1.0)
    state.random = x


@kernel(
    state={"random": "i8", "z": ("f8", ("channels", 7))},
    limits={"level": (0.0, 1.0)},
    init=seeded,
)
def pink(block, state, level=0.5):
    """Generate pink noise, which has the same power in each octave.

    Six low-passes of one pole are added up.  Their sum falls by 3 dB an octave, within 0.05 dB
    from 1/4800 of the rate on, and is level below that.  `seed` is as for white noise.

    Parameters
    ----------
    level : factor
        The peak, nearly: about one frame in five million exceeds it.
    """
    z = state.z
    x = state.random
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            x = xorshift(x)
            white = x * SCALE - 1.0
            z[c, 0] = 0.99886 * z[c, 0] + 0.0555179 * white
            z[c, 1] = 0.99332 * z[c, 1] + 0.0750759 * white
            z[c, 2] = 0.96900 * z[c, 2] + 0.1538520 * white
            z[c, 3] = 0.86650 * z[c, 3] + 0.3104856 * white
            z[c, 4] = 0.55000 * z[c, 4] + 0.5329522 * white
            z[c, 5] = -0.7616 * z[c, 5] - 0.0168980 * white
            value = z[c, 0] + z[c, 1] + z[c, 2] + z[c, 3] + z[c, 4] + z[c, 5] + z[c, 6]
            z[c, 6] = 0.115926 * white
            block[i, c] = level[i] * 0.11 * (value + 0.5362 * white)
    state.random = x
