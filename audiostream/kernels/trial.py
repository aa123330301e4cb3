"""Runs a new kernel in a process of its own: ``python -m audiostream.kernels.trial``.

Reads a line of JSON and machine code from its standard input, and prints one line of JSON: what
went wrong, or how long a frame takes.  A loop without an end is killed by a limit of the CPU's
time.  Needs llvmlite, but neither numba nor numpy.
"""

from __future__ import annotations

import ctypes
import json
import math
import random
import signal
import sys
import time
from typing import Any

__all__ = ("SECONDS", "main")

SECONDS = 1.0
"""CPU time, for each set of values, after which a kernel is taken to be in an endless loop."""

FRAMES = (1, 32, 1024, 7, 1023)
"""Frames of the calls."""

TIMED = 256
"""Frames of a call whose time is taken."""


class Trial:
    """One kernel with memory of its own, at one rate and number of channels.

    Parameters
    ----------
    spec : dict
        ``rate``, ``channels``, ``state`` (hex), ``buffers`` (shape and hex, empty for zeros),
        ``parameters`` (name, kind, default, low, high, limited).
    code : int
        Address of the kernel.
    """

    def __init__(self, spec: dict[str, Any], code: int) -> None:
        self.spec = spec
        self.channels: int = spec["channels"]
        self.call = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 7)(code)
        most = self.most = max(*FRAMES, TIMED)
        count = most * self.channels
        made = ctypes.c_float * count
        self.block = made()
        self.signals = {
            "silence": made(),  # first: what a kernel then makes is its own
            "noise": made(*[random.uniform(-1.0, 1.0) for _ in range(count)]),
            "full scale": made(*[1.0 if i % 3 else -1.0 for i in range(count)]),
        }

    def begin(self, values: dict[str, float]) -> None:
        """Start from the instance's own memory, with these values of its parameters."""
        spec = self.spec
        state = bytes.fromhex(spec["state"])
        self.state = ctypes.create_string_buffer(state, max(len(state), 8))
        self.buffers = []
        words: list[int] = []
        for shape, content in spec["buffers"]:
            buffer = (ctypes.c_float * math.prod(shape))()
            if content:
                ctypes.memmove(buffer, bytes.fromhex(content), 4 * math.prod(shape))
            self.buffers.append(buffer)
            words += [ctypes.addressof(buffer), *shape]
        self.buffer_words = (ctypes.c_int64 * max(len(words), 1))(*words)
        self.arrays: list[Any] = []
        for one in spec["parameters"]:
            value = values[one["name"]]
            if one["kind"] == "scalar":
                self.arrays.append(ctypes.c_double(value))
            else:
                self.arrays.append((ctypes.c_float * self.most)(*[value] * self.most))
        addresses = [ctypes.addressof(array) for array in self.arrays]
        self.array_words = (ctypes.c_int64 * max(len(addresses), 1))(*addresses)

    def fill(self, kind: str, frames: int) -> None:
        """Put a signal into the block."""
        ctypes.memmove(self.block, self.signals[kind], 4 * frames * self.channels)

    def run(self, frames: int) -> int:
        """Call the kernel once; what it returns."""
        memory = (self.state, self.buffer_words, self.array_words)
        words = [ctypes.addressof(one) for one in memory]
        block = ctypes.addressof(self.block)
        return int(self.call(block, frames, self.channels, *words, self.spec["rate"]))

    def values(self) -> list[dict[str, float]]:
        """What to set the parameters to: the defaults, each limit, some at random."""
        known = self.spec["parameters"]
        defaults = {one["name"]: one["default"] for one in known}
        limited = [one for one in known if one["limited"]]
        made = [defaults]
        for one in limited:
            made += [{**defaults, one["name"]: one[end]} for end in ("low", "high")]
        for _ in range(4 if limited else 0):
            made.append(
                {
                    **defaults,
                    **{p["name"]: random.uniform(p["low"], p["high"]) for p in limited},
                }
            )
        return made

    def try_all(self) -> dict[str, Any]:
        """Run it with all values and signals; what went wrong first, or what it is like."""
        sounds = False
        for values in self.values():
            signal.setitimer(
                signal.ITIMER_PROF, SECONDS
            )  # ends the process, in machine code, too
            self.begin(values)
            for kind in self.signals:
                for frames in FRAMES:
                    self.fill(kind, frames)
                    status = self.run(frames)
                    if status < 0:
                        return {"status": status, "values": values, "signal": kind}
                    made = self.block[: frames * self.channels]
                    if not math.isfinite(sum(made)):  # a NaN or an infinity is in it
                        return {"not_finite": values, "signal": kind}
                    sounds = sounds or (kind == "silence" and any(made))
                    if status < frames:  # a generator has come to its end
                        self.begin(values)
        return {"nanoseconds": self.time(), "sounds": sounds}

    def time(self) -> float:
        """Nanoseconds of a frame, at the defaults; the least of some calls."""
        self.begin(self.values()[0])
        least = math.inf
        for _ in range(20):
            self.fill("noise", TIMED)
            begun = time.perf_counter_ns()
            self.run(TIMED)
            least = min(least, time.perf_counter_ns() - begun)
        return least / TIMED


def main() -> None:
    """Read, run, print."""
    spec = json.loads(sys.stdin.buffer.readline())
    code = sys.stdin.buffer.read()
    random.seed(0)
    from audiostream.kernels.loading import load_kernel

    trial = Trial(spec, load_kernel(code))
    result = trial.try_all()
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
