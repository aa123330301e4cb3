"""The audio thread's code: everything here is compiled and never waits."""
