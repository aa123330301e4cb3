"""Pure Data patches through libpd, from any thread; nothing here waits or starts a thread."""

from audiostream.libpd.arrays import Arrays, PatchArray
from audiostream.libpd.patch import Patch
from audiostream.libpd.protocol import Carrier, Engine, Message, Midi
from audiostream.libpd.queues import Queue

__all__ = (
    "Arrays",
    "Carrier",
    "Engine",
    "Message",
    "Midi",
    "Patch",
    "PatchArray",
    "Queue",
)
