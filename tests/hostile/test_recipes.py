"""Recipes that somebody else wrote, or a program: they are read, or refused in one sentence, and at once."""

import dataclasses
import os

import pytest
from hypothesis import example, given, strategies as st

from sentiment_hf.config.recipe import read_recipe
from sentiment_hf.config.training_options import FINE_TUNING_PARTS
from sentiment_hf.config.values import MAX_CHARACTERS, MAX_DEPTH, load_yaml, parse_value
from sentiment_hf.data.preparation import check_supplement
from sentiment_hf.sweeps.sweep import read_sweep, recipe_keys
from sentiment_hf.tasks import resolve_task
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.setup import aspect_task
from sentiment_hf.utils.exceptions import InputError

from .texts import characters

OWN_KEYS = sorted({item.name for part in FINE_TUNING_PARTS for item in dataclasses.fields(part)} - {"output_dir"})
VALUES = [
    "null", "true", "-1", "0", "1.5", ".nan", "-.inf", "1e400", "''", "word", "2001-99-99", "!!binary aGk=", "[]",
    "[1, [2, {a: null}]]", "{}", "{a: {b: [c]}}", "{1: 2, null: [x]}", "'\\u0000'", "\"\\0\"", "../../..", "9" * 400,
]  # fmt: skip


def refused(check, *arguments):
    """What is said, or None where nothing is wrong."""
    try:
        check(*arguments)
    except InputError as error:
        said = str(error)
    else:
        return None
    assert "\n" not in said
    return said


def check_run(path, folder):
    args = parse_run_arguments([f"--config={path}", f"--output_dir={folder}"])
    _ = args.text_settings
    check_supplement(args.data.supplement)
    aspect_task(args.task) if args.task.task == "aspects" else resolve_task(
        args.task.task, args.task.labels, ["0", "1"]
    )
    args.as_recipe()


@pytest.mark.parametrize("key", OWN_KEYS)
def test_every_key_with_a_value_of_any_kind(tmp_path, monkeypatch, key):
    # transformers leaves choices in the environment.
    monkeypatch.setattr(os, "environ", dict(os.environ))
    # A different two for each key: all of them for all keys would be two thousand recipes.
    place = OWN_KEYS.index(key)
    for value in (VALUES[(2 * place) % len(VALUES)], VALUES[(2 * place + 1) % len(VALUES)]):
        (tmp_path / "recipe.yaml").write_text(f"{key}: {value}\n", encoding="utf-8")
        refused(check_run, tmp_path / "recipe.yaml", tmp_path / "run")


@given(st.sampled_from(OWN_KEYS), st.sampled_from(VALUES))
def test_any_key_with_any_value(tmp_path_factory, key, value):
    before, folder = dict(os.environ), tmp_path_factory.mktemp("recipe")
    (folder / "recipe.yaml").write_text(f"{key}: {value}\n", encoding="utf-8")
    try:
        refused(check_run, folder / "recipe.yaml", folder / "run")
    finally:
        os.environ.clear()
        os.environ.update(before)


@given(st.one_of(characters, st.binary(max_size=40), st.text("{}[]:,&*!|>-?'\"# ab\n\t%@`", max_size=40)))
@example("a: &a [*a]")
@example("a: [" * 500)
@example("- " * 3_000)
@example("? [a]\n: b")
@example("=: 1")
@example("!!python/object/apply:os.system ['false']")
@example("a: 2001-99-99")
@example(b"\xff\xfe")
def test_any_text_as_a_recipe(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    for check in (lambda: read_recipe(path, recipe_keys()), lambda: read_sweep(path)):
        said = refused(check)
        assert said is None or str(path) in said
    refused(parse_value, path.read_text(encoding="utf-8", errors="replace"), "labels", (dict,))


def test_a_key_that_comes_twice_is_refused_wherever_it_stands(tmp_path):
    for text, said in (("seed: 1\nmodel: m\nseed: 2\n", "'seed' twice.*line 3"), ("peft: {r: 1, r: 2}", "'r' twice")):
        (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=f"YAML in .*{said}"):
            read_recipe(tmp_path / "recipe.yaml", recipe_keys())
    with pytest.raises(InputError, match="YAML or JSON for labels"):
        parse_value("{a: 1, a: 2}", "labels", (dict,))


def test_what_grows_without_end_is_refused_before_it_grows():
    # Nine levels of nine aliases each: 387 million words out of four hundred characters.
    lines = ["a0: &a0 word"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    for text, said in (
        ("\n".join(lines), "more than 100,000 values"),
        ("a: &a {b: *a}", "within itself"),
        ("a: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "within each other"),
        ("a: " + "[" * 20_000, "without end|while parsing"),
        ("#" * (MAX_CHARACTERS + 1), "characters"),
    ):
        with pytest.raises(ValueError, match=said):
            load_yaml(text)


def test_what_recipes_are_made_of_is_read_as_before():
    text = "a: &x {b: 1.5, c: [yes, null, 0x10, 1_000]}\nd: *x\ne: {<<: *x, b: two}\nf: 2001-01-01\n'1': 1\n"
    assert load_yaml(text) == {
        "a": {"b": 1.5, "c": [True, None, 16, 1000]},
        "d": {"b": 1.5, "c": [True, None, 16, 1000]},
        "e": {"b": "two", "c": [True, None, 16, 1000]},
        "f": "2001-01-01",
        "1": 1,
    }
    assert load_yaml("") is None
