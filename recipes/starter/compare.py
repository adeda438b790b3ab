"""The encoders that the starter is held against: its own layers before distillation, and its shape at random.

    python recipes/starter/compare.py --teacher intfloat/multilingual-e5-small --output_dir runs/compare

writes `undistilled/`, a copy of the teacher's layers 0, 4, 8 and 11 with the starter's tokens, and
`random-42/`, `random-43/`, `random-44/`. Each is a `model:` for every recipe.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from transformers import AutoModel, set_seed

from sentiment_hf.distillation.student import copy_layers, load_encoder
from sentiment_hf.modeling.loading import load_config, load_tokenizer
from sentiment_hf.modeling.vocabulary import prune_embeddings

LAYERS = (0, 4, 8, 11)
SEEDS = (42, 43, 44)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="intfloat/multilingual-e5-small", help="Hub id or folder")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder for the encoders")
    args = parser.parse_args()

    config, tokenizer = load_config("starter"), load_tokenizer("starter")
    # The teacher has no pooler, so that one is drawn.
    set_seed(SEEDS[0])
    teacher, tokens = load_encoder(args.teacher), load_tokenizer(args.teacher).get_vocab()
    own = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    prune_embeddings(teacher, [tokens[token] for token, _ in own], tokenizer.pad_token_id)
    encoders = {"undistilled": copy_layers(teacher, LAYERS, config)}
    for seed in SEEDS:
        set_seed(seed)
        encoders[f"random-{seed}"] = AutoModel.from_config(config)
    for name, encoder in encoders.items():
        encoder.save_pretrained(args.output_dir / name)
        tokenizer.save_pretrained(args.output_dir / name)


if __name__ == "__main__":
    main()
