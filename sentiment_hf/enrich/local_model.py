"""A causal language model in this process, through transformers: a Hub id, a folder or a GGUF file."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteriaList,
)

from sentiment_hf.enrich.prompts import Question, Reply, Wait
from sentiment_hf.enrich.sampling import EndOfText, PrefixCache, SeededSampler
from sentiment_hf.modeling.loading import TOKENIZER_FILES, check_folder, not_loadable
from sentiment_hf.utils.exceptions import InputError, MissingExtraError

GGUF = ".gguf"
# Of each file of weights, what its digest is made of: so many pieces of so many bytes, evenly spread.
_PIECES, _PIECE = 64, 65_536


TOO_LONG = "longer than the model reads"


class LocalModel:
    """A causal model that scores words and writes.

    Args:
        model: the causal model, in evaluation mode.
        tokenizer: its tokenizer.
        name: under which its replies are kept.
    """

    scores_words = True
    # The model is one: threads would only wait for each other.
    concurrency = 1
    takes_batches = True

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self._prefixes = PrefixCache(model)

    @classmethod
    def from_pretrained(cls, model: str, load_in_4bit: bool = False) -> LocalModel:
        """Load a model, onto the GPU where there is one.

        On a CPU the weights are FP32, on a GPU as they were saved; a model that was saved in 4 bits stays in 4 bits
        if the packages that its config asks for are installed.

        Args:
            model: Hub id, folder, or GGUF file.
            load_in_4bit: quantize the weights as they are loaded, to NormalFloat of 4 bits (QLoRA, Dettmers et al.
                2023); products are in bfloat16.

        Raises:
            InputError: no such file or folder, one without a tokenizer, nothing that transformers can load, or another
            kind of model.
            MissingExtraError: a GGUF file without gguf, 4 bits without bitsandbytes.
        """
        path, on_gpu = Path(model), torch.cuda.is_available()
        options: dict[str, Any] = {"dtype": "auto" if on_gpu else torch.float32, "trust_remote_code": False}
        options["weights_only"] = True
        if load_in_4bit:
            options |= _four_bits(path)
        if path.suffix == GGUF:
            if not path.is_file():
                raise InputError(f"a GGUF file at {model}", "nothing there", "Check the path.")
            _check_gguf()
            source, files = str(path.parent), {"gguf_file": path.name}
        else:
            check_folder(model)
            source, files = model, {}
            if path.is_dir() and not any((path / name).is_file() for name in TOKENIZER_FILES):
                found = ", ".join(sorted(item.name for item in path.iterdir())[:8]) or "an empty folder"
                remedy = "Save the tokenizer beside the weights: tokenizer.save_pretrained(folder)."
                raise InputError(f"a tokenizer in {model}", found, remedy)
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **files)
            loaded, found = AutoModelForCausalLM.from_pretrained(source, output_loading_info=True, **options, **files)
        except Exception as error:
            raise not_loadable("a causal model and its tokenizer", model, error) from error
        missing = sorted(found["missing_keys"])
        if missing:
            # transformers would fill them with random numbers, and a classifier would pass for a language model.
            raise InputError(f"the weights of a causal model in {model}", f"none for {missing[0]}", "Name another one.")
        if on_gpu and not load_in_4bit:
            loaded = loaded.cuda()
        return cls(loaded.eval(), tokenizer, _identity(model) + (" in 4 bits" if load_in_4bit else ""))

    @torch.no_grad()
    def ask(self, question: Question, wait: Wait) -> Reply:
        """Log-likelihoods of the question's words, or a reply in words."""
        if not question.words:
            return self.ask_batch([question])[0]
        prompt = self.tokenizer(question.prompt)["input_ids"]
        endings = [self.tokenizer(word, add_special_tokens=False)["input_ids"] for word in question.words]
        if self._exceeds(len(prompt) + max(map(len, endings))):
            return Reply(prompt_tokens=len(prompt), failed=TOO_LONG)
        return Reply(scores=tuple(self.score(prompt, question.words)), prompt_tokens=len(prompt))

    @torch.no_grad()
    def ask_batch(self, questions: Sequence[Question]) -> list[Reply]:
        """Write replies in words together, so that the weights are read once for the next token of all of them.

        What is written to a question does not depend on the others (see `SeededSampler`), but for rounding.
        """
        prompts = [self._chat(question) for question in questions]
        replies = [Reply(prompt_tokens=len(ids), failed=TOO_LONG) for ids in prompts]
        fitting = [
            place
            for place, (ids, question) in enumerate(zip(prompts, questions, strict=True))
            if not self._exceeds(len(ids) + question.max_tokens)
        ]
        if not fitting:
            return replies
        asked = [questions[place] for place in fitting]
        inputs = self._tensors([prompts[place] for place in fitting], left=True)
        length = inputs["input_ids"].shape[1]
        sampler = LogitsProcessorList([SeededSampler(asked)])
        limits = EndOfText(self.tokenizer, length, asked)
        written = self.model.generate(
            **inputs,
            max_new_tokens=max(question.max_tokens for question in asked),
            pad_token_id=self._padding,
            do_sample=False,
            logits_processor=sampler,
            stopping_criteria=StoppingCriteriaList([limits]),
        )[:, length:]
        for place, ids, count in zip(fitting, written, limits.counts(written, self._ends), strict=True):
            text = self.tokenizer.decode(ids[:count], skip_special_tokens=True)
            tokens = replies[place].prompt_tokens
            replies[place] = Reply(text.strip(), prompt_tokens=tokens, completion_tokens=count)
        return replies

    @torch.no_grad()
    def score(self, prompt: Sequence[int], words: Sequence[str]) -> list[float]:
        """Compute the log-likelihood of each word after the prompt, the sum over its tokens."""
        endings = [self.tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
        longest = max(map(len, endings))
        # What stands at a place is said by the logits of the place before; the last token is only ever said.
        rows = [list(prompt)] if longest == 1 else [[*prompt, *ending[:-1]] for ending in endings]
        states, known = self._prefixes.states(prompt, len(rows))
        inputs = self._tensors(rows)
        inputs["input_ids"] = inputs["input_ids"][:, known:]
        # Logits of a vocabulary of a quarter of a million cost more than the model itself.
        options = {**self._last_logits(longest), **({} if states is None else {"past_key_values": states})}
        logits = self.model(**inputs, **options).logits[:, -longest:].float()
        scores = []
        for row, ending in enumerate(endings):
            log_p = logits[0 if longest == 1 else row, : len(ending)].log_softmax(dim=-1)
            scores.append(float(log_p[torch.arange(len(ending)), torch.tensor(ending)].sum()))
        return scores

    def _exceeds(self, tokens: int) -> bool:
        """Whether a table of positions ends before."""
        return tokens > getattr(self.model.config, "max_position_embeddings", tokens)

    def _last_logits(self, count: int) -> dict[str, int]:
        knows = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        return {"logits_to_keep": count} if knows else {}

    def _chat(self, question: Question) -> list[int]:
        if self.tokenizer.chat_template is None:
            text = "\n\n".join(part for part in (question.system, question.prompt) if part)
            return list(self.tokenizer(text)["input_ids"])
        # Some templates know no system message; what it says stands before the prompt then.
        text = "\n\n".join(part for part in (question.system, question.prompt) if part)
        chat = [{"role": "user", "content": text}]
        rendered = self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        return list(self.tokenizer(rendered, add_special_tokens=False)["input_ids"])

    @property
    def _padding(self) -> int:
        tokenizer = self.tokenizer
        return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0

    @property
    def _ends(self) -> list[int]:
        """Tokens that end what is written."""
        ends = self.model.generation_config.eos_token_id if self.model.generation_config is not None else None
        return list(ends) if isinstance(ends, (list, tuple)) else [] if ends is None else [ends]

    def _tensors(self, rows: Sequence[Sequence[int]], left: bool = False) -> dict[str, torch.Tensor]:
        """Ids and mask, filled up on the right, so that no token's place moves, or on the left, to go on writing."""
        length = max(map(len, rows))
        filled, known = [], []
        for row in rows:
            rest = length - len(row)
            filled.append([self._padding] * rest + list(row) if left else list(row) + [self._padding] * rest)
            known.append([0] * rest + [1] * len(row) if left else [1] * len(row) + [0] * rest)
        ids, mask = torch.tensor(filled), torch.tensor(known)
        return {"input_ids": ids.to(self.model.device), "attention_mask": mask.to(self.model.device)}


def _four_bits(path: Path) -> dict[str, Any]:
    """Build the options that make transformers quantize the weights to 4 bits on their way in."""
    if path.suffix == GGUF:
        raise InputError("weights that are not quantized for 4 bits", "a GGUF file", "Leave --load_in_4bit out.")
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise MissingExtraError("bitsandbytes", "4bit") from None
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    # Such weights are packed for the device that they will stay on.
    return {
        "quantization_config": settings,
        "dtype": torch.bfloat16,
        "device_map": "auto" if torch.cuda.is_available() else "cpu",
    }


def _check_gguf() -> None:
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise MissingExtraError("gguf", "enrich") from None


def _identity(model: str) -> str:
    """Name the model, files on disk with a digest, so that replies of other weights are not taken for its own."""
    path = Path(model)
    files = [path] if path.is_file() else sorted([*path.glob("*.safetensors"), *path.glob("*.bin")])
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}".encode())
        with file.open("rb") as content:
            # Not all of some gigabytes: fine-tuning moves every layer.
            for start in range(0, size, max(size // _PIECES, _PIECE)):
                content.seek(start)
                digest.update(content.read(_PIECE))
    return f"{path.name} ({digest.hexdigest()[:12]})" if files else model
