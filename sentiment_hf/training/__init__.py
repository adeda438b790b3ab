"""Logits get better: arguments, losses, the trainer, and the run that puts them together."""
