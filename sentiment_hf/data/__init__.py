"""Text comes in: sources, cleaning, audit, splits, tokenization, collation."""
