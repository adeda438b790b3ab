"""A WordPiece vocabulary built from the training split, for models that start from random weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def build_wordpiece_tokenizer(
    texts: Iterable[str], vocab_size: int, min_frequency: int = 2, max_length: int = 512
) -> PreTrainedTokenizerFast:
    """A BERT tokenizer (Han characters apart, WordPiece for the rest) with a vocabulary of the texts' own pieces.

    Args:
        texts: cleaned training texts; held-out texts have no business here.
        vocab_size: upper bound, special tokens included.
        min_frequency: characters and pieces rarer than this become `[UNK]`: nothing could be learned about them.
        max_length: recorded as the tokenizer's `model_max_length`.
    """
    lowered = [text.lower() for text in texts]
    counts = Counter(char for text in lowered for char in text)
    rare = {ord(char): None for char, count in counts.items() if count < min_frequency}
    common = [text.translate(rare) for text in lowered]
    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL_TOKENS["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    # The trainer keeps every character, and every letter a second time as a continuation, whatever the size asked for;
    # so the alphabet shrinks until all of it fits.
    alphabet = excess = vocab_size - len(SPECIAL_TOKENS)
    while excess > 0:
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            limit_alphabet=alphabet,
            special_tokens=list(SPECIAL_TOKENS.values()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(common, trainer)
        excess = tokenizer.get_vocab_size() - vocab_size
        alphabet -= max(excess, 0)
    cls, sep = SPECIAL_TOKENS["cls_token"], SPECIAL_TOKENS["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(cls, tokenizer.token_to_id(cls)), (sep, tokenizer.token_to_id(sep))],
    )
    return BertTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        do_lower_case=True,
        strip_accents=False,
        **SPECIAL_TOKENS,
    )
