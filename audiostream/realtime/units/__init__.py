"""Inner loops: levels that move, sums, meters, conversions; audio thread."""
