import copy
import shutil
import sys

import pytest
import torch

from sentiment_hf.enrich.llm import LanguageModel, ReplyCache
from sentiment_hf.enrich.local_model import LocalModel
from sentiment_hf.enrich.prompts import Question
from sentiment_hf.enrich.sampling import SeededSampler
from sentiment_hf.utils.exceptions import InputError, MissingExtraError


def never(seconds):
    raise AssertionError("a local model waits for nobody")


def test_a_local_model_scores_words_as_its_logits_say(llm_folder):
    local = LocalModel.from_pretrained(str(llm_folder))
    words = ("好", "非常差", "x")
    prompt = local.tokenizer("房间")["input_ids"]
    reply = local.ask(Question("房间", words=words), never)
    assert reply.prompt_tokens == len(prompt)
    for word, score in zip(words, reply.scores, strict=True):
        ending = local.tokenizer(word)["input_ids"]
        total, ids = 0.0, list(prompt)
        for token in ending:
            with torch.no_grad():
                logits = local.model(torch.tensor([ids])).logits[0, -1]
            total += float(logits.log_softmax(-1)[token])
            ids.append(token)
        assert score == pytest.approx(total, abs=1e-4)


def test_a_local_model_writes_the_same_again(llm_folder):
    local = LocalModel.from_pretrained(str(llm_folder))
    asked = [Question("早餐", max_tokens=8, temperature=heat, seed=seed) for heat, seed in ((0, 0), (1.0, 1), (1.0, 2))]
    replies = [local.ask(question, never) for question in asked]
    assert replies == [local.ask(question, never) for question in asked]
    assert replies[1].text != replies[2].text
    assert all(0 < reply.completion_tokens <= 8 for reply in replies)


def test_local_models_that_cannot_be_loaded(tmp_path, llm_folder, model_folder):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((llm_folder / name).read_bytes())
    for model, message in (
        (str(bare), "a tokenizer in .*, found config.json, model.safetensors"),
        (str(model_folder), "the weights of a causal model in .*, found none for cls"),
        (str(tmp_path / "none"), "nothing there"),
        (str(tmp_path / "none.gguf"), "a GGUF file at"),
    ):
        with pytest.raises(InputError, match=message):
            LocalModel.from_pretrained(model)
    (tmp_path / "bad.gguf").write_bytes(b"no gguf")
    with pytest.raises(InputError, match="a causal model and its tokenizer"):
        LocalModel.from_pretrained(str(tmp_path / "bad.gguf"))


def test_a_local_model_in_four_bits(llm_folder):
    pytest.importorskip("bitsandbytes", reason="needs the 4bit extra")
    whole, packed = LocalModel.from_pretrained(str(llm_folder)), LocalModel.from_pretrained(str(llm_folder), True)
    assert packed.name == f"{whole.name} in 4 bits", "its replies are its own"
    weight = packed.model.model.layers[0].mlp.up_proj.weight
    assert weight.dtype == torch.uint8
    assert weight.numel() == whole.model.model.layers[0].mlp.up_proj.weight.numel() / 2
    question = Question("房间", words=("好", "非常差"))
    scores = [local.ask(question, never).scores for local in (whole, packed)]
    assert scores[0] != scores[1]
    assert scores[0] == pytest.approx(scores[1], rel=0.3)


def test_four_bits_need_weights_and_a_package(llm_folder, tmp_path, monkeypatch):
    (tmp_path / "model.gguf").write_bytes(b"")
    with pytest.raises(InputError, match="weights that are not quantized for 4 bits, found a GGUF file"):
        LocalModel.from_pretrained(str(tmp_path / "model.gguf"), load_in_4bit=True)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sentiment_hf\[4bit\]'"):
        LocalModel.from_pretrained(str(llm_folder), load_in_4bit=True)


def test_weights_of_one_size_have_names_of_their_own(llm_folder, tmp_path):
    names = []
    for number in range(2):
        folder = tmp_path / str(number) / "final"
        shutil.copytree(llm_folder, folder)
        local = LocalModel.from_pretrained(str(folder))
        with torch.no_grad():
            local.model.lm_head.weight += number
        local.model.save_pretrained(folder)
        names.append(LocalModel.from_pretrained(str(folder)).name)
    assert names[0] != names[1]
    assert all(name.startswith("final (") for name in names)


def test_what_is_longer_than_the_model_gets_no_reply(llm_folder):
    local = LocalModel.from_pretrained(str(llm_folder))
    local.model.config.max_position_embeddings = 20
    for asked in (Question("房" * 50, words=("好",)), Question("房" * 50), Question("房", max_tokens=50)):
        assert local.ask(asked, never).failed == "longer than the model reads"
    assert not local.ask(Question("房", words=("好",)), never).failed


def test_what_prompts_have_in_common_is_read_once(llm_folder, monkeypatch):
    local, read = LocalModel.from_pretrained(str(llm_folder)), []
    forward, other = local.model.forward, copy.deepcopy(local.model)

    def counted(input_ids=None, **inputs):
        read.append(input_ids.shape[1])
        return forward(input_ids=input_ids, **inputs)

    monkeypatch.setattr(local.model, "forward", counted)
    # Words of one token and of several; then another beginning, and the first one again.
    first = "判断下面的文本属于哪一类：好评还是差评。\n\n" * 3
    second = "另一个任务，这是它的说明，也不算太短，要读很久。" * 3
    asked = [first + text for text in ("房间很大", "早餐不好，房间也小", "")]
    asked += [second + "好", second + "很差", first + "房间很大"]
    for prompt in asked:
        for words in (("好", "差"), ("非常好", "x")):
            score = local.ask(Question(prompt, words=words), never).scores
            fresh = LocalModel(other, local.tokenizer, local.name)
            assert score == pytest.approx(fresh.ask(Question(prompt, words=words), never).scores, abs=1e-4)
    whole = len(local.tokenizer(asked[1])["input_ids"])
    # From the third question on replies came from what was read before.
    assert min(read[3:6]) < whole / 3


def test_a_batch_is_written_as_each_alone(llm_folder):
    local = LocalModel.from_pretrained(str(llm_folder))
    asked = [
        Question("早餐", max_tokens=8, temperature=1.0, seed=1),
        Question("房间很大，服务也好", max_tokens=12, temperature=1.0, seed=1),
        Question("差", max_tokens=5),
        Question("早餐", max_tokens=8, temperature=1.0, seed=2),
    ]
    alone = [local.ask(question, never) for question in asked]
    assert local.ask_batch(asked) == alone
    assert local.ask_batch(asked[::-1]) == alone[::-1]
    assert len({reply.text for reply in alone}) == 4
    assert alone[2].completion_tokens <= 5
    too_long = Question("房" * 2000, max_tokens=8)
    assert [reply.failed for reply in local.ask_batch([asked[0], too_long])] == ["", "longer than the model reads"]
    assert local.ask_batch([too_long])[0].failed


def test_a_temperature_draws_as_often_as_the_model_says():
    logits = torch.randn(1, 80, generator=torch.Generator().manual_seed(0)) * 3
    # Prompts of one seed draw as little alike as seeds of one prompt.
    asked = [Question(f"第{number}间", temperature=0.7, seed=number % 3) for number in range(3000)]
    drawn = SeededSampler(asked)(torch.empty(3000, 0), logits.expand(3000, -1)).argmax(dim=1).tolist()
    best = (logits[0] / 0.7).topk(50)
    for token, share in list(zip(best.indices.tolist(), best.values.softmax(0).tolist(), strict=True))[:5]:
        assert drawn.count(token) / 3000 == pytest.approx(share, abs=4 * (share * (1 - share) / 3000) ** 0.5)
    coldest = SeededSampler([Question("房间")])(torch.empty(1, 0), logits).argmax()
    assert coldest == logits.argmax()


def test_no_more_lines_are_written_than_are_wanted(llm_folder, monkeypatch):
    local = LocalModel.from_pretrained(str(llm_folder))
    line = local.tokenizer("\n好。\n")["input_ids"]
    said = []

    def says(input_ids, scores):
        """The model says blank, text, end of line over and over."""
        wanted = line[said.count(None) % len(line)]
        said.append(None)
        scores = torch.full_like(scores, -1e9)
        scores[:, wanted] = 0
        return scores

    monkeypatch.setattr("sentiment_hf.enrich.local_model.SeededSampler", lambda questions: says)
    for lines, text in ((1, "好。"), (2, "好。\n\n好。"), (0, None)):
        said.clear()
        reply = local.ask(Question("早餐", max_tokens=40, lines=lines), never)
        assert text is None or reply.text == text
        assert reply.completion_tokens == (lines * len(line) if lines else 40)


def test_questions_to_a_local_model_are_asked_in_batches(llm_folder, tmp_path, monkeypatch):
    local = LocalModel.from_pretrained(str(llm_folder))
    sizes, together = [], local.ask_batch
    monkeypatch.setattr(local, "ask_batch", lambda batch: sizes.append(len(batch)) or together(batch))
    asked = [Question("房间" * (1 + number % 5), max_tokens=4, temperature=1.0, seed=number) for number in range(10)]
    scored = [Question(f"早餐{number}", words=("好", "差")) for number in range(3)]
    with ReplyCache(tmp_path / "replies.jsonl", local.name) as cache:
        llm = LanguageModel(local, cache, concurrency=4)
        replies = llm.ask_all([*asked, *scored], "Asking")
        assert sorted(sizes) == [2, 4, 4]
        assert llm.usage.asked == 13
        assert replies == [local.ask(question, never) for question in (*asked, *scored)]
        sizes.clear()
        assert LanguageModel(local, cache, concurrency=4).ask_all([*asked, *scored], "Asking") == replies
        assert not sizes


def test_a_text_that_goes_in_circles_ends(llm_folder, monkeypatch):
    local = LocalModel.from_pretrained(str(llm_folder))
    circle = local.tokenizer("真的非常好，")["input_ids"]
    said = []

    def says(input_ids, scores):
        said.append(circle[len(said) % len(circle)])
        scores = torch.full_like(scores, -1e9)
        scores[:, said[-1]] = 0
        return scores

    monkeypatch.setattr("sentiment_hf.enrich.local_model.SeededSampler", lambda questions: says)
    reply = local.ask(Question("早餐", max_tokens=200, lines=1), never)
    assert reply.text == "真的非常好，" * 4
    said.clear()
    # A reply that is read in another way is as long as was asked for.
    assert local.ask(Question("早餐", max_tokens=200), never).completion_tokens == 200
