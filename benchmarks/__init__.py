"""Measurements, to be run again; never tests."""
