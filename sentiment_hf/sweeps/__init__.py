"""Which of several is better: sweeps of runs that differ in a few keys, over seeds, and the report of them."""
