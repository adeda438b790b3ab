"""Out to the Hub: which files go, the model card, and the push."""
