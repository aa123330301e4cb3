"""Audio devices by name: hardware through PortAudio, and virtual ones."""
