"""A monophonic synthesizer, written as one kernel, plays a phrase; asyncio.

    python examples/synthesizer.py [--rate HZ] [--tempo BPM] [--render PATH]

A saw goes through a low-pass filter; one envelope moves the cutoff and the level.  A note is
`synth.set(frequency=..., gate=1, at=...)`, and `over=` is the glide from the note before.  With
--render the phrase is written to a file (wav, flac, ogg), faster than it would be played; this
needs `audiostream[files]`.
"""

import argparse
import asyncio
import math

from audiostream import aio, kernel, render

PHRASE = (
    # (MIDI note, beats it is held, beats to the next one, glide in seconds)
    (45, 0.4, 0.5, 0.0),
    (45, 0.4, 0.5, 0.0),
    (57, 0.4, 0.5, 0.05),
    (52, 0.5, 0.5, 0.0),
    (55, 0.4, 0.5, 0.05),
    (48, 0.4, 0.5, 0.0),
    (50, 0.5, 0.5, 0.0),
    (52, 0.4, 0.5, 0.05),
    (45, 1.5, 2.0, 0.1),
)

IDLE, ATTACK, DECAY, RELEASE = range(4)


def jump(phase, step):
    """PolyBLEP: what to add to a saw at phases near its jump, against aliasing."""
    if phase < step:
        x = phase / step
        return x + x - x * x - 1.0
    if phase > 1.0 - step:
        x = (phase - 1.0) / step
        return x * x + x + x + 1.0
    return 0.0


def share(seconds, rate):
    """Of the distance to a goal, what is left to go after one frame."""
    return math.exp(-1.0 / (seconds * rate))


@kernel(
    state={"phase": "f8", "stage": "i8", "envelope": "f8", "z": ("f8", 2)},
    limits={
        "frequency": (20.0, 8000.0),
        "gate": (0.0, 1.0),
        "cutoff": (20.0, 8000.0),
        "octaves": (0.0, 8.0),
        "resonance": (0.0, 0.95),
        "attack": (0.001, 10.0),
        "decay": (0.001, 10.0),
        "sustain": (0.0, 1.0),
        "release": (0.001, 10.0),
    },
    scalars=("attack", "decay", "release"),
    steps=("gate",),
    outputs=("envelope",),
)
def synthesizer(
    block,
    state,
    frequency=110.0,  # Hz
    gate=0.0,  # 1 while a note is held
    cutoff=200.0,  # Hz, of the low-pass while the envelope is at 0
    octaves=4.0,  # by which the envelope raises it
    resonance=0.6,
    attack=0.005,  # seconds
    decay=0.15,  # seconds in which 63 % of the way to sustain is made
    sustain=0.4,
    release=0.1,  # seconds in which 63 % of the way to 0 is made
    *,
    rate,
):
    """A saw, a low-pass (a state-variable filter) and an envelope for both."""
    rise = 1.0 / (attack * rate)  # a frame
    falling = share(decay, rate)
    releasing = share(release, rate)
    level = state.envelope
    for i in range(block.shape[0]):
        if gate[i] > 0.0 and (state.stage == IDLE or state.stage == RELEASE):
            state.stage = ATTACK
        elif gate[i] == 0.0 and state.stage != IDLE:
            state.stage = RELEASE
        if state.stage == ATTACK:
            level += rise
            if level >= 1.0:
                level = 1.0
                state.stage = DECAY
        elif state.stage == DECAY:
            level = sustain[i] + (level - sustain[i]) * falling
        elif state.stage == RELEASE:
            level *= releasing
            if level < 1e-5:
                level = 0.0
                state.stage = IDLE

        step = float(frequency[i]) / rate
        saw = 2.0 * state.phase - 1.0 - jump(state.phase, step)
        state.phase += step - math.floor(state.phase + step)

        hertz = min(float(cutoff[i]) * 2.0 ** (float(octaves[i]) * level), 0.45 * rate)
        g = math.tan(math.pi * hertz / rate)
        a = 1.0 / (1.0 + g * (g + 2.0 - 2.0 * float(resonance[i])))
        band = a * (state.z[0] + g * (saw - state.z[1]))
        low = state.z[1] + g * band
        state.z[0] = 2.0 * band - state.z[0]
        state.z[1] = 2.0 * low - state.z[1]

        for c in range(block.shape[1]):
            block[i, c] = low * level
    state.envelope = level


def hertz_of(note: int) -> float:
    """The frequency of a MIDI note."""
    return 440.0 * 2.0 ** ((note - 69) / 12)


def schedule(synth, start: float, tempo: float) -> float:
    """Give the synthesizer all notes of the phrase; when the last one has ended, in seconds.

    At most 64 values may wait for their time; a note takes three.
    """
    beat = 60.0 / tempo
    at = start
    for note, held, length, glide in PHRASE:
        synth.set(frequency=hertz_of(note), gate=1.0, over=glide, at=at)
        if held < length:  # else it is tied to the next note, which gets no new attack
            synth.set(gate=0.0, at=at + held * beat)
        at += length * beat
    return at


async def play(rate: int, tempo: float) -> None:
    async with aio.get_output(rate=rate, channels=2, buffersize=256) as speaker:
        synth = synthesizer()
        await synth.ready(speaker)  # compiles, in a worker thread
        playing = speaker.play(synth, gain=0.4)
        end = schedule(synth, speaker.time + 0.2, tempo)
        playing.stop(at=end)
        await playing.finished()


def render_to(path: str, rate: int, tempo: float) -> int:
    seconds = sum(length for _, _, length, _ in PHRASE) * 60.0 / tempo

    def make(speaker: aio.AudioOutput) -> None:
        synth = synthesizer()
        speaker.play(synth, gain=0.4)
        schedule(synth, 0.0, tempo)

    return render(make, seconds, rate, 2, to=path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Play a phrase on a synthesizer.")
    parser.add_argument("--rate", type=int, default=48000, help="Hz")
    parser.add_argument("--tempo", type=float, default=110.0, help="beats a minute")
    parser.add_argument("--render", metavar="PATH", help="write this file instead of playing")
    options = parser.parse_args()
    if options.render:
        frames = render_to(options.render, options.rate, options.tempo)
        print(f"{options.render}: {frames / options.rate:.2f} s")
    else:
        asyncio.run(play(options.rate, options.tempo))
