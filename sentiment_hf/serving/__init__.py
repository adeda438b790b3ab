"""Out to people: the predictor, and what stands on it."""
