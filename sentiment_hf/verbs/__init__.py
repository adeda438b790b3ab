"""What the verbs of `sentiment-hf` do; each file is one verb, imported when it is called."""
