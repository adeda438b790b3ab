"""Compare the speed of a model with common alternatives, on the same texts and threads, in one run."""
