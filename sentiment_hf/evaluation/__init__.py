"""Metrics, the TF-IDF baseline, significance tests, and reports."""
