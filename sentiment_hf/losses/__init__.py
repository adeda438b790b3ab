"""Per-row losses that can be composed."""

# A target that counts in no loss; torch's cross-entropy has the same.
IGNORE_INDEX = -100
