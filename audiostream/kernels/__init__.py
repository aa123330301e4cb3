"""Users' own DSP: plain functions that run, compiled, on the audio thread."""
