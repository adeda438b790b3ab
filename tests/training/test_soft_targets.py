import math

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.losses.classification import distillation_loss
from sentiment_hf.modeling.classifier import classifier_config, load_classifier
from sentiment_hf.modeling.config_io import record_settings
from sentiment_hf.sweeps.plan import fingerprints
from sentiment_hf.tasks import BUILT_IN_TASKS, AspectTask, aspect_columns
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.folder import save_model
from sentiment_hf.training.run import train
from sentiment_hf.training.setup import load_data, load_model, tokenize_splits
from sentiment_hf.training.soft_targets import (
    TEACHER_LOGITS,
    load_teachers,
    logits_and_states,
    state_loss,
    teacher_layers,
    with_soft_targets,
)
from sentiment_hf.utils.exceptions import InputError


def test_the_loss_by_hand():
    teacher, student = torch.tensor([[math.log(3), 0.0], [2.0, 1.0]]), torch.tensor([[0.0, 0.0], [2.0, 1.0]])
    # At temperature 1: 3/4 and 1/4 against two halves; the second row agrees.
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert distillation_loss(student, teacher, 1.0).tolist() == pytest.approx([expected, 0.0], abs=1e-6)
    p = math.sqrt(3) / (1 + math.sqrt(3))
    expected = 4 * (p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p)))
    assert distillation_loss(student, teacher, 2.0)[0].item() == pytest.approx(expected, rel=1e-5)
    assert distillation_loss(student + 5, teacher, 2.0)[0].item() == pytest.approx(expected, rel=1e-5)


@pytest.fixture
def teacher(tiny_arguments, tmp_path):
    """A classifier that has learned the task, with a tokenizer of its own."""
    words = [word for word in tiny_arguments if not word.startswith(("--output_dir", "--num_train"))]
    options = [f"--output_dir={tmp_path / 'teacher'}", "--num_train_epochs=4", "--cleaning={nfkc: false}"]
    return train(parse_run_arguments([*words, *options, "--baseline=false"])).folder


def test_a_student_learns_from_the_teacher_alone(tiny_arguments, teacher, reviews, tmp_path):
    """Without a single label of its own, on other rows than the teacher was given, under another tokenizer."""
    expected = SentimentClassifier.from_pretrained(teacher)
    unlabelled = tmp_path / "texts.csv"
    pd.DataFrame({"text": [*(reviews["text"] + "说实话"), "", None]}).to_csv(unlabelled, index=False)
    words = [word for word in tiny_arguments if not word.startswith(("--output_dir", "--num_train", "--config_over"))]
    shape = "{hidden_size: 16, num_attention_heads: 2, intermediate_size: 32, vocab_size: 150}"
    options = [f"--output_dir={tmp_path / 'student'}", "--num_train_epochs=6", f"--config_overrides={shape}"]
    options += [f"--distill_from={teacher}", "--distillation_weight=1.0", f"--unlabelled=[{unlabelled}]"]
    run = train(
        parse_run_arguments([*words, *options, "--max_train_rows=8", "--baseline=false", "--learning_rate=5e-3"])
    )
    audit = run.data.audit["unlabelled"]
    assert audit["found"] == len(reviews) + 2
    assert audit["blank"] == 2
    # Eighty-seven of the rows are held out; nothing equal or near to them is learned from, whatever was appended.
    assert audit["equal_to_evaluation"] + audit["near_to_evaluation"] > 0
    assert audit["added"] > 200
    texts = run.data.splits["test"]["text"].tolist()
    student = SentimentClassifier.from_pretrained(run.folder)
    agreement = [a.label == b.label for a, b in zip(student(texts), expected(texts), strict=True)]
    assert sum(agreement) / len(agreement) > 0.9


def test_weight_nought_is_plain_training_and_one_is_not(tiny_arguments, teacher, tmp_path):
    from safetensors.torch import load_file

    words = [word for word in tiny_arguments if not word.startswith("--output_dir")]
    weights = []
    for name, options in (
        ("plain", []),
        ("nought", [f"--distill_from={teacher}", "--distillation_weight=0"]),
        ("half", [f"--distill_from={teacher}", "--rdrop_alpha=0.5"]),
    ):
        folder = tmp_path / name
        train(parse_run_arguments([*words, *options, f"--output_dir={folder}", "--baseline=false", "--max_steps=4"]))
        weights.append(load_file(folder / "model.safetensors"))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_several_teachers_are_asked_and_their_mean_counts(tiny_arguments, teacher, tmp_path):
    """Teachers of other tokenizers and another order of labels: each predicts in its own way, and is read rightly."""
    words = [word for word in tiny_arguments if not word.startswith(("--output_dir", "--task"))]
    turned = "--labels={1: positive, 0: negative}"
    options = [f"--output_dir={tmp_path / 'second'}", "--task=turned", turned, "--baseline=false", "--seed=7"]
    second = train(parse_run_arguments([*words, *options])).folder
    teachers = [SentimentClassifier.from_pretrained(folder) for folder in (teacher, second)]
    assert [one.task.labels for one in teachers] == [("negative", "positive"), ("positive", "negative")]
    args = parse_run_arguments([*tiny_arguments, f"--distill_from=[{teacher}, {second}]"])
    data = load_data(args)
    tokenizer, model = load_model(args, data)
    rows = data.splits["validation"]
    tokenized = tokenize_splits(args, rows, rows, tokenizer)["train"]
    told = with_soft_targets(tokenized, rows["text"].tolist(), load_teachers(args, data, model))
    own = [one.scorer.logits(rows["text"].tolist()) for one in teachers]
    expected = (own[0] + own[1][:, ::-1]) / 2
    assert np.array(told[TEACHER_LOGITS]) == pytest.approx(expected, abs=1e-5)
    # What a run writes down names both, and is read as the same again; one alone stays a name.
    assert args.as_recipe()["distill_from"] == [str(teacher), str(second)]
    alone = parse_run_arguments([*tiny_arguments, f"--distill_from={teacher}"])
    assert alone.as_recipe()["distill_from"] == str(teacher)
    assert fingerprints(args, ())[0] != fingerprints(alone, ())[0]


def test_the_distance_of_states_by_hand():
    # Two layers: one points the same way at another length, the other at a right angle.
    states = torch.tensor([[[2.0, 0.0], [0.0, 3.0]]])
    teacher = torch.tensor([[[5.0, 0.0], [1.0, 0.0]]])
    assert state_loss(states, teacher).tolist() == pytest.approx([(0 + 2) / 2])


def test_layers_learn_from_layers_evenly_spread(make_model):
    student, teacher = make_model(), make_model()
    assert teacher_layers(student, teacher) == [1, 2]
    teacher.config.num_hidden_layers = 12
    assert teacher_layers(student, teacher) == [6, 12]
    student.config.num_hidden_layers = 4
    assert teacher_layers(student, teacher) == [3, 6, 9, 12]
    student.config.hidden_size = 16
    with pytest.raises(InputError, match="layers as wide as the student's"):
        teacher_layers(student, teacher)


def test_states_come_nearer_to_the_teachers(tiny_arguments, teacher, tmp_path):
    """From the same start and seed; only with the weight do the layers follow, with R-Drop as well."""
    words = [word for word in tiny_arguments if not word.startswith(("--output_dir", "--num_train"))]
    distance = []
    weight = "--distillation_hidden_weight=20"
    for name, more in (("without", []), ("with", [weight]), ("rdrop", [weight, "--rdrop_alpha=0.5"])):
        options = [*more, f"--distill_from={teacher}", f"--output_dir={tmp_path / name}", "--baseline=false"]
        run = train(parse_run_arguments([*words, *options, "--max_steps=60", "--learning_rate=5e-3"]))
        texts = run.data.splits["test"]["text"].tolist()
        states = []
        for folder in (run.folder, teacher):
            classifier = SentimentClassifier.from_pretrained(folder)
            model = AutoModelForSequenceClassification.from_pretrained(folder)
            scorer = classifier.scorer.with_forward(logits_and_states(model, [1, 2]))
            states.append(torch.from_numpy(scorer.logits(texts)[:, 2:]).unflatten(-1, (2, -1)))
        distance.append(state_loss(*states).mean().item())
    assert distance[1] < 0.6 * distance[0]
    assert distance[2] < 0.6 * distance[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--distillation_hidden_weight=1"], "and a teacher for it"),
        (["--unlabelled=[a.csv]"], "a teacher for unlabelled text"),
        (["--distill_from=TEACHER", "--distillation_weight=2"], "distillation_weight from 0 to 1"),
        (["--distill_from=TEACHER", "--distillation_temperature=0"], "distillation_temperature above 0"),
        (["--distill_from=TEACHER", "--sampler=weighted"], "sampler: none with distill_from"),
        (["--distill_from=TEACHER"], "found none for good, bad: it has negative, positive"),
        (["--distill_from=./nothing"], "a model at .*nothing"),
        (["--distill_from=[TEACHER, ./nothing]"], "a model at .*nothing"),
        (["--distill_from=[]"], r"a name or a list of names for distill_from, found \[\]"),
        (["--distill_from=[1, 2]"], "a name or a list of names for distill_from"),
        (["--distill_from=[TEACHER, TEACHER]", "--distillation_hidden_weight=1"], "found 2 teachers"),
    ],
)
def test_bad_teachers_are_refused(tiny_arguments, make_model, tokenizer, tmp_path, options, message):
    model = make_model()
    record_settings(
        model.config, tokenizer, BUILT_IN_TASKS["reviews"], parse_run_arguments(tiny_arguments).text_settings
    )
    save_model(tmp_path / "teacher", model, tokenizer)
    words = [word.replace("TEACHER", str(tmp_path / "teacher")) for word in options]
    if message.startswith("found none for"):
        words += ["--task=own", "--labels={positive: good, negative: bad}"]
    with pytest.raises(InputError, match=message):
        train(parse_run_arguments([*tiny_arguments, *words]))
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_aspects_is_refused(tmp_path, make_model, tokenizer, tiny_arguments):
    """Its values are called negative and positive as well, and its first logits are an aspect's."""
    task = AspectTask(aspect_columns(["taste"]))
    make_model().save_pretrained(tmp_path / "stock")
    config = classifier_config(str(tmp_path / "stock"), task, tokenizer)
    record_settings(config, tokenizer, task, parse_run_arguments(tiny_arguments).text_settings)
    save_model(tmp_path / "teacher", load_classifier(str(tmp_path / "stock"), config, new_head=True), tokenizer)
    with pytest.raises(InputError, match="a teacher of one label in .*, found one of aspects"):
        train(parse_run_arguments([*tiny_arguments, f"--distill_from={tmp_path / 'teacher'}"]))


def test_tasks_without_one_label_have_no_teacher(make_model, tiny_arguments):
    from sentiment_hf.data.preparation import PreparedData

    args = parse_run_arguments([*tiny_arguments, "--distill_from=starter"])
    with pytest.raises(InputError, match="one label for distill_from"):
        load_teachers(args, PreparedData({}, AspectTask(aspect_columns(["taste"])), {}, {}, ()), make_model())
