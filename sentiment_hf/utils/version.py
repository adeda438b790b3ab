"""The version of this package, for what is written down with it."""

from importlib.metadata import version

__version__ = version("sentiment_hf")
