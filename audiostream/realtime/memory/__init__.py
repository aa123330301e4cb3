"""The memory that the audio thread shares: records, atomics, rings; any thread."""
