import itertools
from pathlib import Path

import pytest
import torch
import yaml

from sentiment_hf.training.arguments import choose_precision, parse_run_arguments
from sentiment_hf.utils.exceptions import InputError

ROOT = Path(__file__).parents[2]
# A recipe with a teacher is one of distillation, one with a base a sweep, one with a language model of `data judge` or
# `data augment`, and those of accelerate name the hardware: all with keys of their own.
RECIPES = sorted(
    path.relative_to(ROOT)
    for path in ROOT.glob("recipes/*/*.yaml")
    if path.parent.name != "accelerate"
    and not {"teacher", "base", "llm"} & yaml.safe_load(path.read_text(encoding="utf-8")).keys()
)
# Keys stand in this order in every recipe, so that a diff of two shows the idea.
KEY_ORDER = [
    "task",
    "labels",
    "aspects",
    "dataset",
    "dataset_config",
    "data_dir",
    "train_file",
    "validation_file",
    "test_file",
    "text_column",
    "label_column",
    "protocol",
    "split_method",
    "split_seed",
    "decontaminate_against",
    "decontaminate_against_packages",
    "supplement",
    "max_train_rows",
    "model",
    "num_hidden_layers",
    "config_overrides",
    "attn_implementation",
    "peft",
    "pooling",
    "hierarchical",
    "freeze_encoder",
    "classifier_dropout",
    "rating",
    "rating_column",
    "cleaning",
    "max_length",
    "truncation",
    "head_share",
    "stride",
    "max_chunks",
    "chunk_choice",
    "aggregation",
    "max_chunks_per_batch",
    "task_weights",
    "class_weights",
    "effective_number_beta",
    "focal_gamma",
    "logit_adjustment",
    "logit_adjustment_at",
    "sampler",
    "rdrop_alpha",
    "layerwise_lr_decay",
    "fgm_epsilon",
    "label_smoothing_factor",
    "distill_from",
    "distillation_weight",
    "distillation_temperature",
    "unlabelled",
    "precision",
    "seed",
    "num_train_epochs",
    "learning_rate",
    "weight_decay",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "early_stopping_patience",
    "metric_for_best_model",
    "load_best_model_at_end",
    "eval_strategy",
    "save_strategy",
    "dataloader_num_workers",
    "dataloader_persistent_workers",
    "gradient_checkpointing",
    "torch_empty_cache_steps",
    "quantize",
    "arch",
    "max_drop",
]


def write(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return [f"--config={path}", f"--output_dir={tmp_path / 'run'}"]


def test_recipe_sets_defaults_and_the_command_line_overrides(tmp_path):
    words = write(tmp_path, "rdrop_alpha: 4\nlearning_rate: 1e-4\ncleaning: {urls: false}\nclass_weights: balanced\n")
    args = parse_run_arguments([*words, "--rdrop_alpha", "2", "--class_weights={positive: 3}"])
    assert args.training.rdrop_alpha == 2
    assert args.training.learning_rate == 1e-4
    assert args.training.class_weights == {"positive": 3}
    assert args.text_settings.cleaning.urls is False
    assert args.text_settings.cleaning.nfkc is True
    assert args.training.warmup_ratio == 0.06


def test_a_run_writes_down_a_recipe_that_repeats_it(tmp_path):
    words = write(
        tmp_path, "task: reviews\nlabels: {0: bad, 1: good}\nmodel: scratch\nconfig_overrides: {vocab_size: 9}\n"
    )
    args = parse_run_arguments(words)
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(args.as_recipe(), allow_unicode=True), encoding="utf-8")
    again = parse_run_arguments([f"--config={path}"])
    assert again.as_recipe() == args.as_recipe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rdrop_alfa: 1\n", "unknown key 'rdrop_alfa'. The nearest known key is 'rdrop_alpha'"),
        ("max_length: many\n", "--max_length.*invalid int value: 'many'"),
        ("learning_rate: fast\n", "invalid float value"),
        ("precision: fp8\n", r"auto \| bf16 \| fp16 \| fp32, found 'fp8'"),
        ("class_weights: heavy\n", r"none \| balanced"),
        (
            "class_weights: balanced\nsampler: weighted\n",
            "one correction for rare classes, found class_weights and",
        ),
        ("logit_adjustment: 1\nsampler: downsample\n", "one correction for rare classes, found sampler and logit_adj"),
        ("focal_gamma: 2\nlabel_smoothing_factor: 0.1\n", "focal_gamma or label_smoothing_factor, found both"),
        ("focal_gamma: -1\n", "focal_gamma of at least 0"),
        ("effective_number_beta: 1\n", "effective_number_beta from 0 to below 1"),
        ("sampler: heavy\n", r"sampler none \| weighted \| downsample"),
        ("rdrop_alpha: -1\n", "at least 0"),
        ("warmup_ratio: 6\n", "from 0 to 1"),
        ("label_smoothing_factor: 1\n", "below 1"),
        ("labels: positive\n", "a mapping or a list for labels"),
        ("quantize: int4\n", r"none \| dynamic"),
        ("max_drop: -1\n", "at least 0 points"),
        ("truncation: both\n", "head_tail"),
        ("cleaning: {emojis: true}\n", "'emojis'"),
        ("early_stopping_patience: 2\nload_best_model_at_end: false\n", "load_best_model_at_end"),
        ("- a\n- b\n", "key: value"),
        ("a: [\n", "YAML in"),
    ],
)
def test_bad_recipes_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        _ = parse_run_arguments(write(tmp_path, text)).text_settings


@pytest.mark.parametrize("key", ["group_by_length: true", "logging_dir: logs", "label_names: [x]"])
def test_keys_that_would_change_nothing_are_refused(tmp_path, key):
    """On one major they are fields of transformers' class, on the other they are unknown; refused on both."""
    with pytest.raises(InputError, match="keys that change something|unknown key"):
        parse_run_arguments(write(tmp_path, key + "\n"))
    with pytest.raises(InputError, match="keys that change something|unknown key"):
        parse_run_arguments([f"--output_dir={tmp_path}", "--" + key.replace(": ", "=")])


def test_bad_command_lines_are_refused(tmp_path):
    words = [f"--output_dir={tmp_path}"]
    with pytest.raises(InputError, match="'train_files'. The nearest known key is 'train_file'"):
        parse_run_arguments([*words, "--train_files=a.csv"])
    with pytest.raises(InputError, match="two dashes"):
        parse_run_arguments([*words, "stray"])
    with pytest.raises(InputError, match="nothing there"):
        parse_run_arguments([*words, "--config=nowhere.yaml"])
    with pytest.raises(InputError, match="output_dir"):
        parse_run_arguments([])


@pytest.mark.parametrize(
    ("on_gpu", "gpu_bf16", "cpu_bf16", "expected"),
    [
        (True, True, False, "bf16"),
        (True, False, True, "fp16"),
        (False, False, True, "bf16"),
        (False, False, False, "fp32"),
    ],
)
def test_precision_follows_the_hardware(on_gpu, gpu_bf16, cpu_bf16, expected):
    assert choose_precision("auto", on_gpu, gpu_bf16, cpu_bf16) == expected


def test_precision_is_not_that_of_the_run_before(tmp_path):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    for name, mixed in (("bf16", "bf16"), ("fp32", "no")):
        parse_run_arguments([f"--output_dir={tmp_path}", f"--precision={name}"])
        AcceleratorState._reset_state()
        assert Accelerator(cpu=True).mixed_precision == mixed


def test_precision_can_be_overridden(tmp_path):
    for name in ("fp32", "bf16"):
        args = parse_run_arguments([f"--output_dir={tmp_path}", f"--precision={name}"]).training
        assert (args.bf16, args.fp16) == (name == "bf16", False)
    with pytest.raises(InputError, match="one setting of the precision"):
        parse_run_arguments([f"--output_dir={tmp_path}", "--precision=fp32", "--bf16=true"])
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="a GPU for precision: fp16"):
            parse_run_arguments([f"--output_dir={tmp_path}", "--precision=fp16"])


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_every_recipe_parses(tmp_path, recipe):
    text = (ROOT / recipe).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    keys = list(yaml.safe_load(text))
    order = [KEY_ORDER.index(key) for key in keys]
    assert all(first < second for first, second in itertools.pairwise(order)), "keys out of the usual order"
    # fp16 is for GPUs; everything else about such a recipe is checked here too.
    words = [] if torch.cuda.is_available() or "precision: fp16" not in text else ["--precision=fp32"]
    args = parse_run_arguments([f"--config={ROOT / recipe}", f"--output_dir={tmp_path}", *words])
    assert args.model.model
    assert args.text_settings
