"""A WordPiece vocabulary built from the training split, for models that start from random weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
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
    """Build a BERT tokenizer (Han characters apart, WordPiece for the rest) with the texts' own characters and words.

    Args:
        texts: cleaned training texts; held-out texts have no business here.
        vocab_size: upper bound, special tokens included.
        min_frequency: characters rarer than this become `[UNK]`: nothing could be learned about them.
        max_length: recorded as the tokenizer's `model_max_length`.
    """
    normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    splitter = pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    tokens = _tokens(words, vocab_size - len(SPECIAL_TOKENS), min_frequency)
    vocabulary = {token: index for index, token in enumerate([*SPECIAL_TOKENS.values(), *tokens])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL_TOKENS["unk_token"]))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.WordPiece()
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


def _tokens(words: Counter[str], limit: int, min_frequency: int) -> list[str]:
    """Characters first, so that every word can be spelled, then whole words, the most frequent first.

    Counted here because the trainer of `tokenizers` breaks ties by the order of a hash table: its vocabulary, and with
    it the model, differs from run to run.
    """
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for place, char in enumerate(word):
            characters[char if place == 0 else f"##{char}"] += count
    longer = Counter({word: count for word, count in words.items() if len(word) > 1})
    ranked = []
    for counted in (characters, longer):
        frequent = [token for token, count in counted.items() if count >= min_frequency]
        ranked += sorted(sorted(frequent), key=counted.__getitem__, reverse=True)
    return ranked[:limit]
