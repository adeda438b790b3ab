"""How good is it: metrics, the TF-IDF baseline, timing, and the report that puts them side by side."""
