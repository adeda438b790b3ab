"""How good is it: metrics, the TF-IDF baseline, and the report that puts them side by side."""
