"""Predictions for tables of any size, in blocks of rows and in parts."""
