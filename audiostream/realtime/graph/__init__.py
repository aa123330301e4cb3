"""The mixer: strips (source, effects, fader) that play into buses; audio thread."""
