"""The demo: a microphone's recording is played back with a melody, and drawn."""

from audiostream.demo.performance import Performance, perform
from audiostream.demo.report import draw, report

__all__ = ("Performance", "draw", "perform", "report")
