"""For your tests: the manual device in virtual time, and the devices' conformance suite."""

from audiostream.device.manual import Fault, ManualDevice

__all__ = ("Fault", "ManualDevice")
