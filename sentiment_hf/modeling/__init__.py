"""Text becomes logits: which model and tokenizer a recipe means, and how they are loaded or made."""
