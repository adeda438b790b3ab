"""Utilities for all other packages: errors, files, hardware, console output."""
