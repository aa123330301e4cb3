"""What the tests of sources measure: pitch, distortion, and what is no multiple of a tone."""

from __future__ import annotations

import numpy as np

__all__ = ("decibels", "distortion", "pitch")


def pitch(signal: np.ndarray, rate: int) -> float:
    """The strongest tone in Hz: of its phase in one half against that in the other."""
    signal = np.asarray(signal, np.float64)
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(len(signal))))
    found = float(spectrum.argmax()) * rate / len(signal)
    half = len(signal) // 2
    window = np.hanning(half)
    for _ in range(3):
        turned = signal * np.exp(-2j * np.pi * found / rate * np.arange(len(signal)))
        first, second = (turned[:half] * window).sum(), (turned[half : 2 * half] * window).sum()
        found += float(np.angle(second * first.conj())) / (2 * np.pi) * rate / half
    return found


def distortion(signal: np.ndarray, rate: int, frequency: int) -> tuple[float, float]:
    """dB of the harmonics, and of all but the tone, against a tone of whole Hz.

    `signal` is one second.
    """
    assert len(signal) == rate
    power = np.abs(np.fft.rfft(np.asarray(signal, np.float64))) ** 2
    folded = (np.arange(2, 40) * frequency) % rate
    harmonics = np.minimum(folded, rate - folded)
    harmonics = np.setdiff1d(harmonics, [0, frequency])
    tone = power[frequency]
    return (
        10 * np.log10(power[harmonics].sum() / tone),
        10 * np.log10((power[1:].sum() - tone) / tone),
    )


def decibels(ratio: float) -> float:
    """Of two amplitudes."""
    return float(20 * np.log10(ratio))
