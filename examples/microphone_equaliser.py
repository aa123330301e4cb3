"""Microphone, equaliser, gate, speaker; prints how loud it is; asyncio.

    python examples/microphone_equaliser.py [--gain DB] [--frequency HZ] [--threshold DB]
                                            [--seconds SECONDS]

The equaliser raises what makes speech clear, and the gate turns down the noise between the
words.  Both run on the audio thread, before `async for` gets a chunk.  Use headphones, or the
microphone hears the speaker.
"""

import argparse
import asyncio
import math

from audiostream import aio, dsp

RATE = 48000


async def main(frequency: float, gain_db: float, threshold_db: float, seconds: float) -> None:
    gate = dsp.gate(threshold_db=threshold_db, hold=0.15, range_db=40.0)
    effects = (
        dsp.highpass(frequency=80.0),  # rumble and plosives
        dsp.peaking(frequency=frequency, q=0.8, gain_db=gain_db),
        gate,
    )
    async with (
        aio.get_output(rate=RATE, channels=1, buffersize=256) as speaker,
        aio.get_input(
            rate=RATE, channels=1, encoding=32, buffersize=480, effects=effects
        ) as mic,
    ):
        voice = speaker.sample(encoding=32)
        heard = printed = 0.0  # seconds
        async for chunk in mic:
            await voice.write(chunk)
            heard += 480 / RATE
            if heard - printed >= 0.25:
                printed = heard
                level = mic.level(0.25)
                state = "open" if gate.gain > 0.5 else "closed"
                print(f"{level.rms_db:6.1f} dB, peak {level.peak_db:6.1f} dB, gate {state}")
            if heard >= seconds:
                break
        await voice.drain()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Equalise and gate the microphone.")
    parser.add_argument("--frequency", type=float, default=3000.0, help="Hz")
    parser.add_argument("--gain", type=float, default=6.0, help="dB at that frequency")
    parser.add_argument("--threshold", type=float, default=-50.0, help="dB, of the gate")
    parser.add_argument("--seconds", type=float, default=math.inf, help="then it ends")
    options = parser.parse_args()
    asyncio.run(
        main(options.frequency, options.gain, options.threshold, options.seconds),
    )
