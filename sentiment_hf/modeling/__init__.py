"""Models and tokenizers: which ones a recipe means, and how they are loaded or made."""
