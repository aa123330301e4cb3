"""Streams, voices and captures: the half of every operation that does not wait."""
