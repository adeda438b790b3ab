"""Models as others save them: vocabularies, ONNX files, adapters, decoders, types without an export."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hub_server.server import serve
from hub_server.store import File, Hub, Repository
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    ErnieConfig,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    pipeline,
)

from sentiment_hf.cli.main import main
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling import adapters
from sentiment_hf.modeling.loading import load_tokenizer
from sentiment_hf.utils.exceptions import InputError, MissingExtraError

TEXTS = ["房间非常好。", "早餐非常差，下次还会考虑。再来一次也不会！", "电池"]
SIZE = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 66}
SIZE |= {"initializer_range": 0.3}
NAMED = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}


def stock(folder, texts=TEXTS):
    """`[{label: probability}]` by transformers' own pipeline, text by text."""
    classify = pipeline("text-classification", model=str(folder), device="cpu")
    return [{row["label"]: row["score"] for row in classify([text], top_k=None)[0]} for text in texts]


def same(predictions, expected, tolerance=1e-5):
    for prediction, wanted in zip(predictions, expected, strict=True):
        assert dict(prediction.top) == pytest.approx(wanted, abs=tolerance)


# --- vocabularies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert", "albert", "roberta"])
def test_vocab_txt_alone_is_a_bert_tokenizer(tmp_path, tokenizer, kind):
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, **SIZE, **NAMED}
    torch.manual_seed(0)
    models = {
        "bert": (BertForSequenceClassification, BertConfig(**sizes)),
        "albert": (AlbertForSequenceClassification, AlbertConfig(**sizes, embedding_size=16)),
        "roberta": (RobertaForSequenceClassification, RobertaConfig(**sizes, pad_token_id=0)),
    }
    make, config = models[kind]
    make(config).save_pretrained(tmp_path)
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.is_fast
    assert loaded(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]
    assert {prediction.label for prediction in SentimentClassifier.from_pretrained(tmp_path)(TEXTS)} <= {"bad", "good"}


def test_a_vocabulary_of_nothing_is_refused(tmp_path):
    RobertaConfig(vocab_size=10, hidden_size=32, **SIZE).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="a tokenizer"):
        load_tokenizer(str(tmp_path))


# --- ONNX files -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tokenizer, make_model):
    """A checkpoint with config and tokenizer, and a folder with its FP32 and INT8 graphs."""
    pytest.importorskip("optimum.exporters.onnx", reason="needs the onnx extra")
    from onnxruntime.quantization import quantize_dynamic

    home = tmp_path_factory.mktemp("exported")
    model = make_model(labels=("bad", "good"))
    model.save_pretrained(home / "model")
    tokenizer.save_pretrained(home / "model")
    graphs = home / "graphs"
    assert (
        main(["compress", "export", "--model", str(home / "model"), "--quantize", "none", "--output_dir", str(graphs)])
        == 0
    )
    quantize_dynamic(graphs / "model.onnx", graphs / "int8.onnx")
    return home


def lay_out(exported, folder, fp32=(), int8=()):
    folder.mkdir()
    for file in (exported / "model").iterdir():
        if file.suffix != ".safetensors" and file.is_file():
            shutil.copy(file, folder)
    for names, graph in ((fp32, "model.onnx"), (int8, "int8.onnx")):
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(exported / "graphs" / graph, folder / name)
    return folder


@pytest.mark.parametrize(
    ("files", "backend", "found"),
    [
        ({"fp32": ["model.onnx"]}, "onnx", "model.onnx"),
        ({"fp32": ["model.onnx", "onnx/model.onnx"]}, "onnx", "onnx/model.onnx"),
        ({"fp32": ["onnx/model_optimized.onnx"]}, "onnx", "onnx/model_optimized.onnx"),
        ({"fp32": ["model_O2.onnx"]}, "onnx", "model_O2.onnx"),
        ({"int8": ["onnx/model_quantized.onnx"]}, "int8", "onnx/model_quantized.onnx"),
        ({"int8": ["model_quantized.onnx"]}, "int8", "model_quantized.onnx"),
        ({"int8": ["onnx/model_int8.onnx"]}, "int8", "onnx/model_int8.onnx"),
        ({"int8": ["onnx/model_uint8.onnx"]}, "auto", "onnx/model_uint8.onnx"),
        ({"fp32": ["onnx/model.onnx"], "int8": ["onnx/model_quantized.onnx"]}, "auto", "onnx/model.onnx"),
        ({"fp32": ["model.onnx"], "int8": ["model_quantized.onnx"]}, "int8", "model_quantized.onnx"),
        ({"fp32": ["model.onnx"]}, "openvino", "model.onnx"),
    ],
)
def test_usual_names_of_onnx_files_are_found(exported, tmp_path, files, backend, found):
    if backend == "openvino":
        pytest.importorskip("openvino", reason="needs the openvino extra")
    folder = lay_out(exported, tmp_path / "model", **files)
    classifier = SentimentClassifier.from_pretrained(folder, backend)
    assert classifier.file == folder / found
    # Dynamic INT8 of random weights is off by so much, whichever name it has; OpenVINO may compute in bfloat16.
    tolerance = 0.15 if classifier.backend == "int8" else 0.02 if backend == "openvino" else 1e-5
    same(classifier(TEXTS), stock(exported / "model"), tolerance)


ON_THE_HUB = """
import json, sys
from sentiment_hf.inference.predictor import SentimentClassifier
found = {}
for name, backend in json.loads(sys.argv[1]):
    classifier = SentimentClassifier.from_pretrained(name, backend)
    scores = dict(classifier("房间非常好。").top)
    found[f"{name} {backend}"] = [classifier.backend, "/".join(classifier.file.parts[-2:]), scores["good"]]
print(json.dumps(found))
"""


def test_usual_names_are_found_on_the_hub(exported, tmp_path):
    layouts = {
        "alice/root": {"fp32": ["model.onnx"], "int8": ["model_quantized.onnx"]},
        "alice/transformers-js": {"int8": ["onnx/model_quantized.onnx"]},
    }
    hub = Hub()
    for name, files in layouts.items():
        folder = lay_out(exported, tmp_path / name.replace("/", "-"), **files)
        repository = hub.repositories["model", name] = Repository("model", name)
        held = {
            str(file.relative_to(folder)): File(file.read_bytes(), file.suffix == ".onnx")
            for file in folder.rglob("*")
            if file.is_file()
        }
        hub.large_files |= {file.sha256: file.content for file in held.values() if file.is_large}
        repository.commit("main", held)
    cases = [["alice/root", "onnx"], ["alice/root", "int8"], ["alice/transformers-js", "auto"]]
    with serve(hub) as endpoint:
        settings = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "cache"), "HF_TOKEN": ""}
        settings |= {"HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1,localhost"}
        command = [sys.executable, "-c", ON_THE_HUB, json.dumps(cases)]
        done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    wanted = stock(exported / "model")[0]["good"]
    for case, backend, file in (
        ("alice/root onnx", "onnx", "model.onnx"),
        ("alice/root int8", "int8", "model_quantized.onnx"),
        ("alice/transformers-js auto", "int8", "onnx/model_quantized.onnx"),
    ):
        assert found[case][0] == backend
        assert found[case][1].endswith(file)
        assert found[case][2] == pytest.approx(wanted, abs=0.15 if backend == "int8" else 1e-5)


# --- decoders and padding ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    """A GPT-2 without padding token, as it is published."""
    folder = tmp_path_factory.mktemp("decoder")
    byte_level = ByteLevelBPETokenizer()
    byte_level.train_from_iterator(TEXTS * 5, vocab_size=300, special_tokens=["<|endoftext|>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level._tokenizer, eos_token="<|endoftext|>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2, "initializer_range": 0.3}
    config = GPT2Config(vocab_size=len(tokenizer), **sizes, bos_token_id=0, eos_token_id=0, **NAMED)
    GPT2ForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_a_decoder_pads_with_its_end_of_text_and_says_so(decoder, caplog):
    assert json.loads((decoder / "config.json").read_text()).get("pad_token_id") is None
    same(SentimentClassifier.from_pretrained(decoder)(TEXTS), stock(decoder))
    assert "no padding token: texts are padded with <|endoftext|>" in caplog.text


def test_a_decoder_is_trained_exported_and_read_by_the_stock_pipeline(decoder, train_file, tmp_path):
    pytest.importorskip("optimum.exporters.onnx", reason="needs the onnx extra")
    run = tmp_path / "run"
    words = [f"--model={decoder}", f"--train_file={train_file}", f"--output_dir={run}", "--max_length=32"]
    words += [f"--cache_dir={tmp_path / 'cache'}", "--max_steps=2", "--precision=fp32", "--disable_tqdm=true"]
    words += ["--save_strategy=steps", "--eval_strategy=steps", "--eval_steps=2", "--save_steps=2"]
    assert main(["train", *words, "--task=reviews", "--quantize=none"]) == 0
    assert main(["compress", "export", "--model", str(run)]) == 0
    assert json.loads((run / "config.json").read_text(encoding="utf-8"))["pad_token_id"] == 0
    # Which cleaning leaves as they are.
    texts = ["房间非常好", "早餐非常差下次还会考虑再来一次也不会", "电池"]
    expected = stock(run, texts)
    for backend in ("torch", "onnx"):
        same(SentimentClassifier.from_pretrained(run, backend)(texts), expected, 1e-4)


def test_a_tokenizer_with_neither_is_refused(decoder, train_file, tmp_path, capsys):
    folder = shutil.copytree(decoder, tmp_path / "decoder")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / name
        if path.is_file():
            saved = json.loads(path.read_text(encoding="utf-8"))
            saved.pop("eos_token", None)
            path.write_text(json.dumps(saved), encoding="utf-8")
    words = [f"--model={folder}", f"--train_file={train_file}", f"--output_dir={tmp_path / 'run'}", "--max_length=32"]
    assert main(["train", *words]) == 2
    assert "a padding token" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_model_that_padding_changes_reads_texts_as_they_are(tmp_path, tokenizer, caplog):
    from transformers import ConvBertConfig

    torch.manual_seed(0)
    config = ConvBertConfig(vocab_size=len(tokenizer), hidden_size=32, embedding_size=16, **SIZE, **NAMED)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    same(SentimentClassifier.from_pretrained(tmp_path)(TEXTS), stock(tmp_path))
    assert "padding changes the predictions of" in caplog.text


# --- asked before training --------------------------------------------------------------------------------------------


def test_a_type_without_export_is_refused_before_training(tmp_path, tokenizer, train_file, capsys):
    pytest.importorskip("optimum.exporters.onnx", reason="needs the onnx extra")
    folder = tmp_path / "ernie"
    config = ErnieConfig(vocab_size=len(tokenizer), hidden_size=32, **SIZE, **NAMED)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    words = [f"--model={folder}", f"--train_file={train_file}", f"--output_dir={tmp_path / 'run'}"]
    assert main(["train", *words, "--quantize=dynamic"]) == 2
    assert "found ernie in" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    # Where nobody asked for INT8 it is trained without, which is said.
    assert main(["train", *words, "--max_steps=1", f"--cache_dir={tmp_path / 'cache'}", "--baseline=false"]) == 0
    assert "WARNING no ONNX and INT8 files: Expected a model type with an export" in capsys.readouterr().err
    assert not (tmp_path / "run" / "onnx").exists()
    recipe = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["quantize"] == "none"
    assert main(["compress", "export", "--model", str(folder)]) == 2
    assert "found ernie in" in capsys.readouterr().err
    assert not (folder / "onnx").exists()
    # It predicts all the same.
    same(SentimentClassifier.from_pretrained(folder)(TEXTS), stock(folder))


@pytest.mark.parametrize(
    ("model", "overrides", "message"),
    [
        ("scratch", "{hidden_size: 30, num_attention_heads: 4}", "hidden_size 30 and num_attention_heads 4"),
        ("scratch", "{num_attention_heads: 0}", "num_attention_heads 0"),
        ("starter", "{num_attention_heads: 5}", "num_attention_heads 5"),
        ("starter", "{num_attention_heads: 6}", "the 12 attention heads of starter, found num_attention_heads 6"),
    ],
)
def test_heads_that_do_not_fit_are_refused_before_training(model, overrides, message, train_file, tmp_path, capsys):
    words = [f"--model={model}", f"--config_overrides={overrides}", f"--train_file={train_file}"]
    assert main(["train", *words, f"--output_dir={tmp_path / 'run'}"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# --- adapters ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def adapter(tmp_path, tokenizer):
    """A LoRA adapter for three labels on an encoder without a head, as peft saves it."""
    peft = pytest.importorskip("peft", reason="needs the peft extra")
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, **SIZE}
    base = BertForSequenceClassification(BertConfig(**sizes))
    base.bert.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=3)
    lora = peft.LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=8, init_lora_weights=False)
    adapted = peft.get_peft_model(loaded, lora)
    adapted.save_pretrained(tmp_path / "adapter")
    merged = adapted.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    tokenizer.save_pretrained(tmp_path / "merged")
    return tmp_path / "adapter"


def test_an_adapter_predicts_as_its_merged_model(adapter, caplog):
    assert sorted(file.name for file in adapter.iterdir() if file.suffix != ".md") == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    same(SentimentClassifier.from_pretrained(adapter)(TEXTS), stock(adapter.parent / "merged"))
    assert "LABEL_0 to LABEL_2" in caplog.text


def test_an_adapter_is_exported_whole(adapter):
    pytest.importorskip("optimum.exporters.onnx", reason="needs the onnx extra")
    assert main(["compress", "export", "--model", str(adapter), "--quantize", "none"]) == 0
    same(SentimentClassifier.from_pretrained(adapter, "onnx")(TEXTS), stock(adapter.parent / "merged"), 1e-4)


def test_a_missing_base_is_named(adapter, capsys):
    shutil.rmtree(adapter.parent / "base")
    assert main(["predict", "--model", str(adapter), TEXTS[0]]) == 2
    error = capsys.readouterr().err
    assert f"the base model {adapter.parent / 'base'} of the adapter" in error
    assert "base_model_name_or_path" in error
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    for name in ("nobody/base-of-nothing", None):
        (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": name}))
        assert main(["predict", "--model", str(adapter), TEXTS[0]]) == 2
        assert str(name) in capsys.readouterr().err


def test_without_peft_the_extra_is_named(adapter, monkeypatch):
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"sentiment_hf\[peft\]"):
        SentimentClassifier.from_pretrained(adapter)


def test_an_adapter_without_head_on_a_base_without_one_has_none(adapter):
    from safetensors.numpy import load_file, save_file

    path = Path(adapter / "adapter_model.safetensors")
    kept = {name: np.ascontiguousarray(array) for name, array in load_file(path).items() if "classifier" not in name}
    save_file(kept, path)
    with pytest.raises(InputError, match="an adapter of its base"):
        SentimentClassifier.from_pretrained(adapter)
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    config |= {"task_type": None, "modules_to_save": None}
    (adapter / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match="without a trained head"):
        SentimentClassifier.from_pretrained(adapter)
