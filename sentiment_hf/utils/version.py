"""The version of this package, for records."""

from importlib.metadata import version

__version__ = version("sentiment_hf")
