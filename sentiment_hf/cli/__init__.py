"""The command line: one file per verb, with its options and its code; heavy imports are inside the functions."""
