"""What each verb of `sentiment-hf` takes, a file for each kind of verb; imports nothing heavy."""
