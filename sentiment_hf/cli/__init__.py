"""What each verb of `sentiment-hf` takes and does, a file a verb; heavy imports are inside the functions."""
