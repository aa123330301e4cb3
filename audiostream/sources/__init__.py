"""The documented sample generators, by their documented module paths."""
