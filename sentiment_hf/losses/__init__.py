"""Losses of single rows, which compose."""

# A target that counts in no loss; torch's cross-entropy has the same.
IGNORE_INDEX = -100
