"""The Space: the page of sentiment_hf with the models that space.json names."""

from pathlib import Path

from sentiment_hf import launch_space

launch_space(Path(__file__).with_name("space.json"))
