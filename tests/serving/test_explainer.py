import json

import numpy as np
import pandas as pd
import pytest
import torch

from sentiment_hf.cli.main import main
from sentiment_hf.config.values import EXPLANATIONS
from sentiment_hf.data.chunks import read_chunks
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.explain import gradients
from sentiment_hf.explain.explainer import Explainer
from sentiment_hf.explain.explanation import Target
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.classifier import classifier_config, load_classifier
from sentiment_hf.modeling.config_io import record_calibration, record_settings
from sentiment_hf.tasks import BUILT_IN_TASKS, AspectTask, aspect_columns, softmax
from sentiment_hf.training.folder import save_model
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import read_json, write_json

TEXT = "房间非常好，早餐让人满意！前台服务一塌糊涂。"
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}


@pytest.fixture
def save(tmp_path, tokenizer):
    """Save a tiny classifier of any kind."""

    def save(task, name="own", settings=None, **options):
        torch.manual_seed(3)
        config = classifier_config("scratch", task, tokenizer, config_overrides=SHAPE, **options)
        model = load_classifier("scratch", config)
        record_settings(model.config, tokenizer, task, settings or TextSettings(max_length=32))
        save_model(tmp_path / name, model, tokenizer)
        return tmp_path / name

    return save


def odds(logits, index):
    return logits[:, index] - np.log(np.exp(np.delete(logits, index, axis=1)).sum(axis=1))


def test_occlusion_is_the_fall_of_the_log_odds(model_folder, tokenizer):
    """And the probability beside it is the one that the classifier says, a calibrated one."""
    config = read_json(model_folder / "config.json")
    record_calibration(config, temperature=2.5, threshold=None)
    write_json(model_folder / "config.json", config)
    explainer = Explainer.from_pretrained(model_folder)
    found = explainer.explain(TEXT)[0]
    predicted = SentimentClassifier.from_pretrained(model_folder)(TEXT)
    assert (found.label, found.probability) == (predicted.label, pytest.approx(predicted.probability, abs=1e-6))
    index = explainer.task.label2id[found.label]
    _, (chunk,), _ = read_chunks(tokenizer, TEXT, explainer.scorer.settings)
    rows = np.repeat(chunk.fields["input_ids"], 2, axis=0)
    rows[1, 3] = tokenizer.mask_token_id
    whole, without = odds(explainer.logits({"input_ids": rows, "attention_mask": np.ones_like(rows)}), index)
    assert found.tokens[2].score == pytest.approx(whole - without, abs=1e-5)
    assert found.log_odds == pytest.approx(whole, abs=1e-5)
    # The other of two labels has the same reasons with the other sign.
    other = explainer.explain(TEXT, label=explainer.task.labels[1 - index])[0]
    np.testing.assert_allclose([span.score for span in other.tokens], [-span.score for span in found.tokens], atol=1e-5)


def test_log_odds_are_against_all_other_labels():
    logits = np.array([[2.0, 1.0, 1.5], [0.0, 3.0, 2.0]])
    p = softmax(logits)[:, 1]
    target = Target("b", 1, 2, 3)
    outputs = np.concatenate([np.full((2, 2), 9.0), logits], axis=1)
    np.testing.assert_allclose(target.log_odds(outputs), np.log(p / (1 - p)))
    np.testing.assert_allclose(target.probability(outputs, 2.0), softmax(logits / 2)[:, 1])


@pytest.mark.parametrize("task", ["reviews", "emotion"])
def test_gradients_are_the_slope_along_the_embeddings(save, task):
    explainer = Explainer.from_pretrained(save(BUILT_IN_TASKS[task]))
    found = explainer.explain(TEXT, "grad_x_input")[0]
    index = explainer.task.label2id[found.label]
    _, (chunk,), _ = read_chunks(explainer.scorer.tokenizer, TEXT, explainer.scorer.settings)
    table = explainer.model.get_input_embeddings().weight
    before, values = table.detach().clone(), []
    for factor in (0.99, 1.01):
        table.copy_(before * factor)
        values.append(odds(explainer.logits(chunk.fields), index)[0])
    table.copy_(before)
    total = sum(span.score for span in found.tokens) + found.special
    assert total == pytest.approx((values[1] - values[0]) / 0.02, rel=0.02)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_integrated_gradients_sum_to_the_difference(make_model, model_folder, tokenizer, seed):
    pytest.importorskip("captum", reason="needs the explain extra")
    explainer = Explainer.from_pretrained(model_folder)
    explainer.model.load_state_dict(make_model(seed=seed).state_dict())
    found = explainer.explain(TEXT, "integrated_gradients")[0]
    index = explainer.task.label2id[found.label]
    _, (chunk,), _ = read_chunks(tokenizer, TEXT, explainer.scorer.settings)
    masked = {name: values.copy() for name, values in chunk.fields.items()}
    masked["input_ids"][0, chunk.content] = tokenizer.mask_token_id
    difference = found.log_odds - odds(explainer.logits(masked), index)[0]
    assert sum(span.score for span in found.tokens) == pytest.approx(difference, rel=0.05, abs=0.005)
    assert found.special == pytest.approx(0, abs=1e-6), "special tokens stay as they are"
    assert found.completeness_error <= 0.05


def test_more_steps_are_taken_where_few_do_not_reach(model_folder, monkeypatch, caplog):
    pytest.importorskip("captum", reason="needs the explain extra")
    explainer = Explainer.from_pretrained(model_folder)
    monkeypatch.setattr(gradients, "STEPS", 1)
    monkeypatch.setattr(gradients, "TOLERANCE", 0.001)
    found = explainer.explain(TEXT, "integrated_gradients")[0]
    assert found.steps > 1
    assert found.completeness_error <= 0.001
    monkeypatch.setattr(gradients, "MOST_STEPS", 1)
    assert explainer.explain(TEXT, "integrated_gradients")[0].steps == 1
    assert "the scores miss the difference" in caplog.text


def test_attention_rolls_out_layer_by_layer_with_the_residual(model_folder):
    explainer = Explainer.from_pretrained(model_folder)
    found = explainer.explain(TEXT, "attention")[0]
    _, (chunk,), _ = read_chunks(explainer.scorer.tokenizer, TEXT, explainer.scorer.settings)
    read = {name: torch.from_numpy(values) for name, values in chunk.fields.items()}
    maps = explainer.model.base_model(**read, output_attentions=True).attentions
    first, second = ((layer[0].mean(0) + torch.eye(layer.shape[-1])) / 2 for layer in maps)
    # The pooler reads at the first token.
    expected = (second @ first)[0, 1:-1].tolist()
    assert [span.score for span in found.tokens] == pytest.approx(expected, rel=1e-4)


def test_attention_is_exploratory_without_sign_and_the_same_for_every_label(model_folder):
    explainer = Explainer.from_pretrained(model_folder)
    both = [explainer.explain(TEXT, "attention", label)[0] for label in ("negative", "positive")]
    assert both[0].tokens == both[1].tokens
    assert all(span.score > 0 for span in both[0].tokens)
    assert sum(span.score for span in both[0].tokens) + both[0].special == pytest.approx(1)
    assert both[0].exploratory
    assert not explainer.explain(TEXT, "occlusion")[0].exploratory


def test_characters_and_words_carry_the_scores_of_tokens(model_folder):
    found = Explainer.from_pretrained(model_folder).explain("　" + TEXT + "WiFi很慢", "grad_x_input")[0]
    assert found.offsets_in == "given"
    total = sum(span.score for span in found.tokens)
    assert sum(span.score for span in found.characters) == pytest.approx(total)
    for span in (*found.tokens, *found.characters, *found.words):
        assert found.text[span.start : span.end] == span.text
    pytest.importorskip("rjieba", reason="needs the explain extra")
    assert sum(span.score for span in found.words) == pytest.approx(total)
    assert {"早餐", "满意"} <= {span.text for span in found.words}


@pytest.mark.parametrize("method", EXPLANATIONS)
def test_aspects_are_explained_one_by_one(save, method):
    if method == "integrated_gradients":
        pytest.importorskip("captum", reason="needs the explain extra")
    task = AspectTask(aspect_columns(["taste", "noise", "price"]), "ordinal")
    explainer = Explainer.from_pretrained(save(task, pooling="attention"))
    found = [explainer.explain(TEXT, method, "negative", aspect)[0] for aspect in ("taste", "noise")]
    assert [one.aspect for one in found] == ["taste", "noise"]
    assert found[0].tokens != found[1].tokens
    assert found[0].text == TEXT
    mentioned = SentimentClassifier.from_pretrained(save(task, pooling="attention"))(TEXT).aspects
    assert [(one.aspect, one.label) for one in explainer.explain(TEXT)] == [
        (aspect, prediction["label"]) for aspect, prediction in mentioned.items()
    ]
    with pytest.raises(InputError, match="an aspect among taste, noise, price, found 'dirt'"):
        explainer.explain(TEXT, aspect="dirt")
    with pytest.raises(InputError, match="an aspect that the label is of, found 'negative' alone"):
        explainer.explain(TEXT, label="negative")


@pytest.mark.parametrize("hierarchical", ["none", "bilstm"])
def test_an_article_is_explained_inside_the_windows_that_speak_most(save, hierarchical):
    settings = TextSettings(max_length=16, truncation="sliding", stride=5)
    folder = save(BUILT_IN_TASKS["reviews"], settings=settings, hierarchical=hierarchical)
    explainer = Explainer.from_pretrained(folder)
    article = TEXT + "快递低于预期，" * 3 + TEXT
    prediction = SentimentClassifier.from_pretrained(folder)(article, top_chunks=2)
    for method in ("occlusion", "grad_x_input", "attention"):
        found = explainer.explain(article, method, top_chunks=2)
        assert [one.label for one in found] == [prediction.label] * 2
        assert [one.chunk_idx for one in found] == [chunk.chunk_idx for chunk in prediction.chunks]
        assert found[0].num_chunks == prediction.num_chunks
        assert all(one.start <= span.start < span.end <= one.end for one in found for span in one.tokens)


def test_onnx_files_are_explained_by_occlusion_alone(model_folder, reviews):
    pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")
    from sentiment_hf.compression.export import export_model
    from sentiment_hf.compression.quantization import Quantization

    validation = pd.DataFrame({"text": reviews["text"][:8], "label": [0, 1] * 4})
    export_model(model_folder, validation, Quantization(max_drop=100))
    torch_scores = [span.score for span in Explainer.from_pretrained(model_folder, "torch").explain(TEXT)[0].tokens]
    for backend, tolerance in (("onnx", 1e-3), ("int8", 0.15 * np.ptp(torch_scores))):
        explainer = Explainer.from_pretrained(model_folder, backend)
        scores = [span.score for span in explainer.explain(TEXT)[0].tokens]
        np.testing.assert_allclose(scores, torch_scores, atol=tolerance)
        for method in ("grad_x_input", "integrated_gradients", "attention"):
            with pytest.raises(InputError, match=f"backend torch for {method}, found {backend}"):
                explainer.explain(TEXT, method)


def test_what_cannot_be_explained_is_refused(model_folder):
    explainer = Explainer.from_pretrained(model_folder)
    for text, found in (
        ("", "an empty one"),
        (" \n", "an empty one"),
        ("<b></b>", "nothing left of it after cleaning"),
    ):
        with pytest.raises(InputError, match=f"a text to explain, found {found}"):
            explainer.explain(text)
    with pytest.raises(InputError, match="a label among negative, positive, found 'great'"):
        explainer.explain(TEXT, label="great")
    with pytest.raises(InputError, match="found 'lime'"):
        explainer.explain(TEXT, "lime")
    with pytest.raises(InputError, match="a model of aspects"):
        explainer.explain(TEXT, aspect="taste")
    with pytest.raises(InputError, match="top_chunks of at least 1"):
        explainer.explain(TEXT, top_chunks=0)


def test_the_command(model_folder, tmp_path, capsys):
    page, text = tmp_path / "why.html", '<script>alert(1)</script>很差 & "房间" x<y'
    words = ["explain", "--model", str(model_folder)]
    assert main([*words, text, "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    assert "by occlusion" in shown
    assert "log-odds" in shown
    written = page.read_text(encoding="utf-8")
    assert "<script" not in written.replace("<style>", "")
    assert "&lt;/span>" in written or "&lt;</span>" in written
    assert written.count("<span style=") >= 5
    assert main([*words, TEXT, "--method", "attention", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["exploratory"]
    assert found["tokens"][0].keys() == {"text", "start", "end", "score"}
    (tmp_path / "article.txt").write_text(TEXT, encoding="gb18030")
    assert main([*words, "--file", str(tmp_path / "article.txt"), "--label", "1"]) == 0
    assert "positive" in capsys.readouterr().out
    assert main(words) == main([*words, TEXT, "--file", "x.txt"]) == main([*words, ""]) == 2
    with pytest.raises(SystemExit, match="2"):
        main([*words, TEXT, "--method", "lime"])
