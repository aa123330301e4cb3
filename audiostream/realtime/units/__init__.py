"""What strips are made of: levels that move, sums, meters; audio thread."""
