"""Loading text: sources, cleaning, audit, splits, tokenization, collation."""
