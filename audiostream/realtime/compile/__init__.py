"""How plain functions become machine code, and where that is kept; any thread."""
