"""Lists what this machine can play to and record from, on asyncio.

    python examples/devices.py

Every name it prints is good for `device=` (outputs) or `source=` (inputs).
"""

import asyncio

from audiostream import aio


async def main() -> None:
    for title, names in (
        ("device=", await aio.get_output_devices()),
        ("source=", await aio.get_input_sources()),
    ):
        for name in names:
            print(f"{title}{name!r}")


if __name__ == "__main__":
    asyncio.run(main())
