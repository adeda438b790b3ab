"""Files from elsewhere run nothing: no pickle beyond tensors, and no code that a model brings along."""

import ast
import io
import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from sentiment_hf.compression.export import export_model
from sentiment_hf.compression.pruning import prune_vocabulary
from sentiment_hf.distillation.student import load_encoder
from sentiment_hf.enrich.local_model import LocalModel
from sentiment_hf.enrich.prompts import load_template, render
from sentiment_hf.explain.explainer import Explainer
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.classifier import load_classifier
from sentiment_hf.modeling.loading import load_config, load_tokenizer
from sentiment_hf.training.run import main
from sentiment_hf.utils.exceptions import InputError

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("sentiment_hf/**/*.py"), *ROOT.glob("recipes/**/*.py"), *ROOT.glob("spaces_demo/*.py")])
LOADERS = {"pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}


class Payload:
    """Makes a file where it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def called(node):
    """`module.function` of a call, as far as it is spelled out."""
    parts, at = [], node.func
    while isinstance(at, ast.Attribute):
        parts.append(at.attr)
        at = at.value
    parts.append(at.id if isinstance(at, ast.Name) else "")
    return ".".join(reversed(parts))


def constant(node, name):
    """The value of a keyword of a call; None where it is not given as a constant."""
    return next(
        (word.value.value for word in node.keywords if word.arg == name and isinstance(word.value, ast.Constant)), None
    )


def complaints(source):
    """What in some code would load a pickle, unsafe YAML, or code of others."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module in LOADERS
            and {a.name for a in node.names} - {"UnpicklingError"}
        ):
            found.append(f"from {node.module} import")
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        module, _, function = name.rpartition(".")
        if module in LOADERS and function != "dumps":
            found.append(name)
        if module == "yaml" and function in ("load", "load_all", "unsafe_load", "full_load", "safe_load"):
            found.append(name)
        if name in ("eval", "exec", "np.load", "numpy.load") and constant(node, "allow_pickle") is not False:
            found.append(name)
        if name in ("torch.load",) and constant(node, "weights_only") is not True:
            found.append(name)
        if function == "read_pickle":
            found.append(name)
        of_transformers = name.startswith("Auto") and function == "from_pretrained"
        starred = any(word.arg is None for word in node.keywords)
        if (of_transformers or name == "pipeline") and not starred and constant(node, "trust_remote_code") is not False:
            found.append(name)
        if constant(node, "trust_remote_code") or constant(node, "allow_pickle"):
            found.append(name)
    return found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\npickle.load(f)",
        "from pickle import loads",
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path)",
        "yaml.load(f)",
        "pd.read_pickle(path)",
        "AutoModel.from_pretrained(m)",
        "AutoModel.from_pretrained(m, trust_remote_code=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(code):
    assert complaints(code)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_loads_a_pickle_or_code_of_others(path):
    assert complaints(path.read_text(encoding="utf-8")) == []


@pytest.fixture
def marker(tmp_path):
    """What a payload makes; that it works is shown first."""
    path = tmp_path / "was-run"
    pickle.loads(pickle.dumps(Payload(path)))
    path.rmdir()
    yield path
    assert not path.exists(), "code from a file was run"


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_pickled_weights_with_something_else_in_them_are_refused(model_folder, marker, kind):
    (model_folder / "model.safetensors").unlink()
    path = model_folder / "pytorch_model.bin"
    if kind == "torch":
        torch.save({"bert.embeddings.word_embeddings.weight": Payload(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(Payload(marker)))
    for load in (
        lambda: SentimentClassifier.from_pretrained(model_folder, "torch"),
        lambda: Explainer.from_pretrained(model_folder, "torch"),
        lambda: load_encoder(str(model_folder)),
        lambda: prune_vocabulary(model_folder, ["房间很吵"], model_folder.with_name("small")),
    ):
        with pytest.raises(InputError, match="weights that loads? from"):
            load()


def test_pickled_weights_of_tensors_alone_still_load(model_folder, make_model):
    said = SentimentClassifier.from_pretrained(model_folder, "torch")("房间很吵")
    (model_folder / "model.safetensors").unlink()
    torch.save(make_model().state_dict(), model_folder / "pytorch_model.bin")
    again = SentimentClassifier.from_pretrained(model_folder, "torch")("房间很吵")
    assert (again.label, again.probability) == (said.label, pytest.approx(said.probability, rel=1e-5))


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth", "scheduler.pt"])
def test_a_checkpoint_with_something_else_in_it_is_refused(tiny_arguments, tmp_path, marker, capsys, name):
    few = ["--max_train_rows=32", "--save_strategy=steps", "--save_steps=1", "--eval_strategy=no"]
    few += ["--load_best_model_at_end=false", "--baseline=false", "--per_device_train_batch_size=32"]
    assert main([*tiny_arguments, *few, "--max_steps=1"]) == 0
    checkpoint = tmp_path / "run" / "checkpoint-1"
    torch.save(Payload(marker), checkpoint / name)
    (tmp_path / "run" / "metrics.json").unlink()
    capsys.readouterr()
    assert main([*tiny_arguments, *few, "--max_steps=2", "--resume_from_checkpoint=true"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"error: Expected numbers alone in the checkpoint {checkpoint}, found ")


EVIL = """
import os
os.mkdir({marker!r})
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast
class Config(BertConfig):
    model_type = {model_type!r}
class Model(BertForSequenceClassification):
    config_class = Config
class Encoder(BertModel):
    config_class = Config
class Tokenizer(BertTokenizerFast):
    pass
"""


@pytest.mark.parametrize("model_type", ["bert", "never_heard_of"])
def test_code_that_a_model_brings_along_is_never_run(model_folder, tmp_path, marker, monkeypatch, model_type):
    config = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))
    names = {
        "AutoConfig": "evil.Config",
        "AutoModelForSequenceClassification": "evil.Model",
        "AutoModel": "evil.Encoder",
    }
    names |= {"AutoModelForCausalLM": "evil.Model"}
    config |= {"model_type": model_type, "auto_map": names, "trust_remote_code": True}
    (model_folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    path = model_folder / "tokenizer_config.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    saved |= {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}, "trust_remote_code": True}
    path.write_text(json.dumps(saved), encoding="utf-8")
    code = EVIL.format(marker=str(marker), model_type=model_type)
    (model_folder / "evil.py").write_text(code, encoding="utf-8")

    entries = [
        lambda: load_tokenizer(str(model_folder)),
        lambda: SentimentClassifier.from_pretrained(model_folder),
        lambda: Explainer.from_pretrained(model_folder),
        lambda: load_classifier(str(model_folder), load_config(str(model_folder))),
        lambda: load_encoder(str(model_folder)),
        lambda: LocalModel.from_pretrained(str(model_folder)),
        lambda: prune_vocabulary(model_folder, ["房间很吵"], tmp_path / "small"),
    ]
    try:
        import optimum.onnxruntime  # noqa: F401
    except ImportError:
        pass
    else:
        from sentiment_hf.benchmark.systems import PIPELINE, System

        entries.append(lambda: export_model(model_folder, None))
        entries.append(lambda: System("pipeline", str(model_folder), PIPELINE).open()(["房间很吵"]))
    for entry in entries:
        # transformers asks where nobody said anything; whoever pipes `yes` into a command did not mean that.
        monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 20))
        try:
            entry()
        except InputError as error:
            said = str(error)
            assert "\n" not in said
        assert not marker.exists()


def test_a_prompt_from_elsewhere_runs_no_python(tmp_path):
    path = tmp_path / "prompt.jinja"
    path.write_text("{{ text.__class__.__mro__[1].__subclasses__() }}", encoding="utf-8")
    _, template = load_template(path, ("text",))
    with pytest.raises(Exception, match="unsafe"):
        render(template, {"text": "房间很吵"})
    path.write_text("{{ text }}", encoding="utf-8")
    # What stands in the data is text, whatever it looks like.
    assert render(load_template(path, ("text",))[1], {"text": "{{ 7 * 7 }}{% raw %}"}) == "{{ 7 * 7 }}{% raw %}"
