"""Losses of single rows, which compose."""
