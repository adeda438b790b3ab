"""How good is it: metrics, the TF-IDF floor, timing, and the report that puts them side by side."""
