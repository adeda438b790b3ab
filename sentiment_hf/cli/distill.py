"""`sentiment-hf compress distill`: distill a large encoder into a small one on unlabelled text."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from sentiment_hf.config.recipe import add_recipe_options
from sentiment_hf.distillation.options import DISTILLATION_PARTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"{parser.prog} --config RECIPE.yaml [--KEY VALUE …]"
    parser.epilog = (
        "The command line overrides the recipe. Every field of transformers' TrainingArguments is an option as well."
    )
    add_recipe_options(parser, DISTILLATION_PARTS)


def main(words: Sequence[str]) -> int:
    from sentiment_hf.distillation.run import main as distill

    return distill(words)
