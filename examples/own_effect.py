"""An effect of your own, a ring modulator, on a sound file or on a saw; asyncio.

    python examples/own_effect.py [PATH] [--hertz HZ] [--mix MIX] [--render OUT]

Without a path it is heard on a saw of two seconds.  Files need `audiostream[files]`: the one
that is read, and the one that --render writes instead of playing.
"""

import argparse
import asyncio
import math

from audiostream import aio, dsp, kernel, render

RATE = 48000


@kernel(
    state={"phase": "f8"},
    limits={"hertz": (0.0, 5000.0), "mix": (0.0, 1.0)},
)
def ring(block, state, hertz=440.0, mix=1.0, *, rate):
    """Multiply by a sine: each partial f becomes two, f - hertz and f + hertz.

    Parameters
    ----------
    hertz : Hz
        Of the sine.
    mix : factor
        0 is the sound as it was, 1 the ring modulator alone.
    """
    for i in range(block.shape[0]):
        sine = math.sin(2.0 * math.pi * state.phase)
        factor = 1.0 - float(mix[i]) * (1.0 - sine)
        for c in range(block.shape[1]):
            block[i, c] *= factor
        state.phase += float(hertz[i]) / rate
        state.phase -= math.floor(state.phase)


def start(speaker: aio.AudioOutput, sound: aio.Sound | None, saw, fx) -> aio.Playing:
    """Play a sound, or a saw for two seconds, through an effect."""
    if sound is not None:
        return sound.play(effects=[fx])
    playing = speaker.play(saw, gain=0.5, effects=[fx])
    playing.stop(at=speaker.time + 2.0)
    return playing


async def play(path: str | None, fx) -> None:
    async with aio.get_output(rate=RATE, channels=2) as speaker:
        sound = None if path is None else await speaker.aload(path)
        saw = dsp.saw(frequency=220.0)
        for unit in (fx, saw):
            await unit.ready(speaker)  # compiles, in a worker thread
        await start(speaker, sound, saw, fx).finished()
        print(f"{100 * fx.cost:.2f} % of a core")


def render_to(out: str, path: str | None, fx) -> None:
    seconds = 2.0
    if path is not None:
        import soundfile

        seconds = soundfile.info(path).duration

    def make(speaker: aio.AudioOutput) -> None:
        sound = None if path is None else speaker.load(path)
        start(speaker, sound, dsp.saw(frequency=220.0), fx)

    frames = render(make, seconds, RATE, to=out)
    print(f"{out}: {frames / RATE:.2f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Play through a ring modulator.")
    parser.add_argument("path", nargs="?", help="a sound file")
    parser.add_argument("--hertz", type=float, default=440.0, help="of the sine")
    parser.add_argument("--mix", type=float, default=1.0, help="0 dry, 1 wet")
    parser.add_argument("--render", metavar="OUT", help="write this file instead of playing")
    options = parser.parse_args()
    fx = ring(hertz=options.hertz, mix=options.mix)
    if options.render:
        render_to(options.render, options.path, fx)
    else:
        asyncio.run(play(options.path, fx))
