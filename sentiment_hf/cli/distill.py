"""`sentiment-hf compress distill`: a small encoder that imitates a large one on unlabelled text."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from sentiment_hf.config.recipe import add_recipe_options
from sentiment_hf.distillation.options import DISTILLATION_PARTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"{parser.prog} --config RECIPE.yaml [--KEY VALUE …]"
    parser.epilog = "The command line overrides the recipe. Fields of transformers' TrainingArguments are keys as well."
    add_recipe_options(parser, DISTILLATION_PARTS)


def main(words: Sequence[str]) -> int:
    from sentiment_hf.distillation.run import main as distill

    return distill(words)
