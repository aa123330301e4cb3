"""An envelope of four stages: attack, decay, sustain, release; audio thread.

As in an analogue envelope a capacitor charges towards a voltage beyond the goal, and the stage
ends when it reaches the goal.  How far beyond makes the curve: an attack that aims 30 % beyond
is nearly straight; a decay or release that aims 0.1 % beyond falls by 60 dB in equal parts.

Sources: N. Redmond, "Envelope generators" and "ADSR code" (earlevel.com, 2013); U. Zoelzer
(ed.), DAFX, 2nd edition, 2011, chapter 4.
"""

from __future__ import annotations

import math

from audiostream.kernels.decorator import kernel

__all__ = ("adsr",)

IDLE, ATTACK, DECAY, SUSTAIN, RELEASE = range(5)

ABOVE = 0.3
"""How far beyond 1 the attack aims."""

BELOW = 0.001
"""How far beyond its goal a fall aims, as a share of its height."""


def approach(seconds, beyond, rate):
    """What is left of the distance to the aim after one frame.

    A stage that aims `beyond` its goal, as a share of its height, takes so many seconds, at
    least one frame.
    """
    return math.exp(math.log(beyond / (1.0 + beyond)) / max(seconds * rate, 1.0))


@kernel(
    state={"envelope": "f8", "stage": "i8", "gated": "i8", "height": "f8"},
    limits={
        "gate": (0.0, 1.0),
        "attack": (0.0, 60.0),
        "decay": (0.0, 60.0),
        "sustain": (0.0, 1.0),
        "release": (0.0, 60.0),
    },
    scalars=("attack", "decay", "release"),
    steps=("gate",),
    outputs=("envelope",),
)
def adsr(block, state, gate=1.0, attack=0.01, decay=0.1, sustain=0.7, release=0.3, *, rate):
    """Multiply the block by an envelope, which `gate` starts and releases.

    A new start begins where the envelope is, so that it does not click.  An effect cannot end
    its voice: the envelope's last value is ``fx.envelope``, and 0 after the release.

    Parameters
    ----------
    gate : 0 or 1
        Above 0 is open.  It jumps on its exact frame.
    attack : seconds
        From 0 to 1.
    decay : seconds
        From 1 to `sustain`.
    sustain : factor
        Held while the gate is open.
    release : seconds
        From where the envelope is to 0.
    """
    rising = approach(attack, ABOVE, rate)
    falling = approach(decay, BELOW, rate)
    releasing = approach(release, BELOW, rate)
    level = float(state.envelope)
    height = float(state.height)
    stage = state.stage
    for i in range(block.shape[0]):
        held = float(sustain[i])
        if gate[i] > 0.0:
            if state.gated == 0:
                state.gated = 1
                stage = ATTACK
        elif state.gated == 1:
            state.gated = 0
            height = level
            stage = RELEASE
        if stage == ATTACK:
            level = 1.0 + ABOVE + (level - 1.0 - ABOVE) * rising
            if level >= 1.0:
                level = 1.0
                stage = DECAY
        elif stage == DECAY:
            aim = held - BELOW * (1.0 - held)
            level = aim + (level - aim) * falling
            if level <= held:
                stage = SUSTAIN
        elif stage == RELEASE:
            aim = -BELOW * height
            level = aim + (level - aim) * releasing
            if level <= 0.0:
                level = 0.0
                stage = IDLE
        if stage == SUSTAIN:
            level = held
        for c in range(block.shape[1]):
            block[i, c] *= level
    state.envelope = level
    state.height = height
    state.stage = stage
