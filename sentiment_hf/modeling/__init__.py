"""Models and tokenizers: names, loading, new heads, vocabularies."""
