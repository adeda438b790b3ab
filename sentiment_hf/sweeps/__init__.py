"""Sweeps: runs that differ in a few keys, over seeds, and reports that compare them."""
