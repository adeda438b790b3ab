"""Texts become logits, and logits predictions."""
