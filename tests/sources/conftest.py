"""Streams on a manual device, closed behind every test."""

from tests.compat.conftest import device, output

__all__ = ("device", "output")
