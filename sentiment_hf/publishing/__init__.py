"""Publishing to the Hub: files, model card, push."""
