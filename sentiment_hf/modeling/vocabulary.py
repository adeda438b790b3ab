"""Build a vocabulary from the training split, or prune one to the tokens that a corpus uses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizerFast, PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sentiment_hf.utils.exceptions import InputError

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


_TEXTS_AT_A_TIME = 1000


def choose_tokens(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], vocab_size: int, min_character_count: int = 2
) -> list[int]:
    """Which tokens a smaller vocabulary keeps: special ones, single characters, then the tokens used most.

    A character comes before longer tokens because it spells whatever was dropped; without it the text has a hole.

    Args:
        tokenizer: a fast Unigram or WordPiece tokenizer.
        texts: the corpus.
        vocab_size: tokens to keep at most.
        min_character_count: a character that the corpus has less often is kept only as a token that is used.

    Returns:
        Ids of the kept tokens, ascending.

    Raises:
        InputError: `vocab_size` has no room for special tokens and characters.
    """
    backend = whole_texts(tokenizer)
    used: Counter[int] = Counter()
    characters: Counter[str] = Counter()
    for start in range(0, len(texts), _TEXTS_AT_A_TIME):
        block = list(texts[start : start + _TEXTS_AT_A_TIME])
        for encoding in backend.encode_batch(block, add_special_tokens=False):
            used.update(encoding.ids)
        for text in block:
            characters.update(backend.normalizer.normalize_str(text) if backend.normalizer else text)
    vocabulary = backend.get_vocab(with_added_tokens=True)
    kept = required_tokens(tokenizer)
    for character, count in characters.items():
        # WordPiece has a second token for a character inside a word.
        for token in (character, f"##{character}"):
            if count >= min_character_count and token in vocabulary:
                kept.add(vocabulary[token])
    if len(kept) > vocab_size:
        found = f"vocab_size {vocab_size}"
        remedy = "Raise it, or raise min_character_count."
        raise InputError(f"room for {len(kept)} special tokens and characters", found, remedy)
    # Ties go to the smaller id, so that two runs keep the same tokens.
    for token_id, _ in sorted(used.items(), key=lambda item: (-item[1], item[0])):
        if len(kept) == vocab_size:
            break
        kept.add(token_id)
    return sorted(kept)


def whole_texts(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """Copy the fast tokenizer alone, without the truncation and padding that its file may bring along."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def required_tokens(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids without which no text is encoded at all: special tokens and the sign for a space."""
    vocabulary = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=True)
    # ▁ is Metaspace's sign for a space: without it every text would begin with an unknown token.
    return {vocabulary[token] for token in (*tokenizer.all_special_tokens, "▁") if token in vocabulary}


def prune_tokenizer(tokenizer: PreTrainedTokenizerBase, kept: Sequence[int]) -> PreTrainedTokenizerFast:
    """Build the tokenizer with the kept tokens alone; token `kept[i]` gets id `i`.

    Texts that use kept tokens only are cut as before; others are cut into the kept tokens.

    Raises:
        InputError: a kind of tokenizer other than Unigram and WordPiece.
    """
    state: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    new_id = {old: new for new, old in enumerate(kept)}
    model = state["model"]
    if model["type"] == "Unigram":
        # Tokens that were added later come behind the model's own, and are listed elsewhere.
        model["vocab"] = [model["vocab"][old] for old in kept if old < len(model["vocab"])]
        model["unk_id"] = new_id[model["unk_id"]]
    elif model["type"] == "WordPiece":
        model["vocab"] = {token: new_id[old] for token, old in model["vocab"].items() if old in new_id}
    else:
        raise InputError("a Unigram or WordPiece tokenizer", model["type"], "Leave `vocab_size` out.")
    state["added_tokens"] = [
        token | {"id": new_id[token["id"]]} for token in state["added_tokens"] if token["id"] in new_id
    ]
    _renumber(state["post_processor"], new_id)
    special: dict[str, Any] = {
        name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)
    }
    others = [token for token in tokenizer.all_special_tokens if token not in special.values()]
    if others:
        special["additional_special_tokens"] = others
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        clean_up_tokenization_spaces=False,
        **special,
    )


def _renumber(post_processor: dict[str, Any] | None, new_id: dict[int, int]) -> None:
    """Ids of the special tokens that the post-processor inserts."""
    if post_processor is None:
        return
    if isinstance(post_processor.get("special_tokens"), dict):
        for token in post_processor["special_tokens"].values():
            token["ids"] = [new_id[old] for old in token["ids"]]
    for name in ("cls", "sep"):
        if name in post_processor:
            token, old = post_processor[name]
            post_processor[name] = [token, new_id[old]]
    for part in post_processor.get("processors", ()):
        _renumber(part, new_id)


def prune_embeddings(model: PreTrainedModel, kept: Iterable[int], pad_token_id: int | None) -> None:
    """Keep the embedding rows of the kept tokens, in place; `pad_token_id` is the new one."""
    embeddings = model.get_input_embeddings()
    rows = embeddings.weight.data[torch.as_tensor(list(kept))].clone()
    smaller = torch.nn.Embedding(len(rows), rows.shape[1], padding_idx=pad_token_id, dtype=rows.dtype)
    smaller.weight.data = rows
    model.set_input_embeddings(smaller)
    model.config.vocab_size = len(rows)
    model.config.pad_token_id = pad_token_id
