import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from sentiment_hf.cli.main import main as cli
from sentiment_hf.config.recipe import as_command_line
from sentiment_hf.distillation import trainer as losses
from sentiment_hf.distillation.batches import DistillationCollator, tokenize_passages
from sentiment_hf.distillation.run import distill, main, parse_distillation_arguments
from sentiment_hf.distillation.student import copy_layers, student_config
from sentiment_hf.distillation.trainer import DistillationTrainer, StudentWithHeads, sentence_statistics
from sentiment_hf.modeling.vocabulary import build_wordpiece_tokenizer
from sentiment_hf.training.arguments import RecipeTrainingArguments
from sentiment_hf.utils.exceptions import InputError

ROOT = Path(__file__).parents[2]


def tiny_encoder(vocab_size: int, seed: int = 0, layers: int = 4, width: int = 32) -> BertModel:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    config.initializer_range = 0.2
    return BertModel(config)


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("teacher")
    tiny_encoder(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def words(tmp_path, reviews, teacher_folder):
    """Arguments of a distillation that takes seconds."""
    reviews[["text"]].to_csv(tmp_path / "texts.csv", index=False)
    reviews[["text"]].iloc[:30].to_csv(tmp_path / "validation.csv", index=False)
    return [
        f"--teacher={teacher_folder}",
        "--layers=[0, 3]",
        f"--data_dir={tmp_path}",
        "--texts=[texts.csv]",
        "--decontaminate_against=[validation.csv]",
        "--max_length=32",
        f"--output_dir={tmp_path / 'student'}",
        "--num_train_epochs=1",
        "--learning_rate=1e-3",
        "--precision=fp32",
        "--logging_steps=2",
        "--disable_tqdm=true",
    ]


def refused(words, match):
    with pytest.raises(InputError, match=match):
        distill(parse_distillation_arguments(words))


def test_losses_are_the_formulas():
    student, teacher = torch.randn(5, 8), torch.randn(5, 8)
    cosine = [1 - float(s @ t / (s.norm() * t.norm())) for s, t in zip(student, teacher, strict=True)]
    assert losses.hidden_cosine(student, teacher).item() == pytest.approx(sum(cosine) / 5, abs=1e-6)
    relative = ((student - teacher) ** 2).mean() / (teacher**2).mean()
    assert losses.hidden_mse(student, teacher).item() == pytest.approx(relative.item())
    assert losses.hidden_mse(torch.zeros(5, 8), teacher).item() == pytest.approx(1)
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])
    assert losses.mean_pool(hidden, torch.tensor([[1, 1, 0]])).tolist() == [[2.0, 3.0]]
    assert losses.masked_cross_entropy(torch.zeros(0, 7), torch.zeros(0, dtype=torch.long)).item() == 0


def test_a_copy_of_all_layers_is_the_teacher(tokenizer):
    teacher = tiny_encoder(len(tokenizer)).eval()
    same = copy_layers(teacher, range(4), student_config(teacher.config, 4, {})).eval()
    ids = tokenizer("房间非常好。", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert torch.equal(same(ids).last_hidden_state, teacher(ids).last_hidden_state)
    chosen = copy_layers(teacher, [1, 3], student_config(teacher.config, 2, {}))
    assert torch.equal(chosen.encoder.layer[1].output.dense.weight, teacher.encoder.layer[3].output.dense.weight)


def test_a_run_from_recipe_to_encoder(words, teacher_folder, tmp_path, tokenizer):
    folder = distill(parse_distillation_arguments([*words, "--pooler_cosine=1", "--mlm=0.5"]))
    weights = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    student = AutoModel.from_pretrained(folder, dtype=torch.float32)
    assert student.config.num_hidden_layers == 2
    # Dropout was off while it learned; who fine-tunes gets the teacher's.
    assert student.config.hidden_dropout_prob == 0.1
    start = tiny_encoder(len(tokenizer))
    for name, tensor in student.state_dict().items():
        assert not torch.equal(tensor, torch.zeros_like(tensor)) or "bias" in name
    assert not torch.allclose(student.encoder.layer[1].output.dense.weight, start.encoder.layer[3].output.dense.weight)
    corpus = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
    # Thirty rows are held out, and whatever shares thirteen characters with one of them.
    assert corpus["sources"]["texts.csv"]["equal"] == 30
    assert corpus["passages"] == corpus["sources"]["texts.csv"]["kept"] > 300
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["tokens_per_second"] > 0
    first = next(line for line in record["history"] if "hidden_cosine" in line)
    assert {"hidden_mse", "sentence_cosine", "pooler_cosine", "mlm", "tokens_per_second"} <= first.keys()
    assert AutoTokenizer.from_pretrained(folder)("房间")["input_ids"] == tokenizer("房间")["input_ids"]


def sentences(encoder, tokenizer, texts):
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = encoder.eval()(**batch).last_hidden_state
    return losses.mean_pool(hidden, batch["attention_mask"])


def test_the_command_brings_the_student_nearer_to_its_teacher(words, teacher_folder, tmp_path, reviews):
    more = ["--num_train_epochs=3", "--vocab_size=130", "--max_texts=300", "--shingle_length=6"]
    assert cli(["compress", "distill", *words, *more]) == 0
    folder = tmp_path / "student"
    corpus = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
    counts = corpus["sources"]["texts.csv"]
    # Thirty texts are held out, with all others that have six characters in common with one of them.
    assert (corpus["evaluation_texts"], counts["equal"], corpus["passages"]) == (30, 30, min(300, counts["kept"]))
    assert counts["near"] > 30
    teacher, student = (AutoModel.from_pretrained(path, dtype=torch.float32) for path in (teacher_folder, folder))
    assert (teacher.config.num_hidden_layers, student.config.num_hidden_layers) == (4, 2)
    # Of texts that nobody learned from; a copy of the two layers is what the student was at the beginning.
    texts, teachers = reviews["text"][:30].tolist(), AutoTokenizer.from_pretrained(teacher_folder)
    wanted = sentences(teacher, teachers, texts)
    start = sentences(copy_layers(teacher, [0, 3], student_config(teacher.config, 2, {})), teachers, texts)
    now = sentences(student, AutoTokenizer.from_pretrained(folder), texts)
    assert losses.sentence_cosine(now, wanted) < 0.7 * losses.sentence_cosine(start, wanted)
    history = json.loads((folder / "run.json").read_text(encoding="utf-8"))["history"]
    steps = [line for line in history if "hidden_mse" in line]
    for name in ("hidden_cosine", "hidden_mse", "sentence_cosine"):
        assert steps[-1][name] < 0.7 * steps[0][name]
    assert AutoModel.from_pretrained(folder).config.vocab_size <= 130


def test_a_stopped_run_goes_on_to_the_same_weights(words, tmp_path):
    whole = [*words, "--save_strategy=steps", "--save_steps=4", "--save_total_limit=9"]
    distill(parse_distillation_arguments(whole))
    expected = load_file(tmp_path / "student" / "model.safetensors")
    shutil.copytree(tmp_path / "student", tmp_path / "stopped")
    for name in ("model.safetensors", "config.json", "run.json"):
        (tmp_path / "stopped" / name).unlink()
    for path in (tmp_path / "stopped").glob("checkpoint-*"):
        if path.name != "checkpoint-4":
            shutil.rmtree(path)
    again = [*whole, f"--output_dir={tmp_path / 'stopped'}", "--resume_from_checkpoint=true"]
    texts = pd.read_csv(tmp_path / "texts.csv")
    texts.iloc[::-1].to_csv(tmp_path / "other.csv", index=False)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "stopped").rglob("*")}
    refused(
        [*again, "--texts=[other.csv]"], "rows in passages that .*checkpoint-4 was trained with, found as many with"
    )
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "stopped").rglob("*")} == before
    distill(parse_distillation_arguments(again))
    found = load_file(tmp_path / "stopped" / "model.safetensors")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_two_processes_make_one_encoder(words, tmp_path):
    """Each with a whole copy of the student (DDP), and each with a part of it (FSDP)."""
    students = []
    for recipe, script in (("ddp", "no_thread_left"), ("fsdp", "shard_on_cpu")):
        hardware = f"--config_file={ROOT / f'recipes/accelerate/{recipe}.yaml'}"
        launch = [sys.executable, "-m", "accelerate.commands.launch", hardware, "--num_cpu_threads_per_process=1"]
        launch += [str(ROOT / f"tests/{script}.py"), "sentiment_hf.distillation.run"]
        launch += [*words, f"--output_dir={tmp_path / recipe}", "--use_cpu=true", "--ddp_backend=gloo"]
        done = subprocess.run(launch, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("The encoder is in") == 1
        students.append(BertModel.from_pretrained(tmp_path / recipe))
        assert students[-1].config.num_hidden_layers == 2
    copied, shared = (student.state_dict() for student in students)
    for name, weight in copied.items():
        # Saved in FP16.
        torch.testing.assert_close(shared[name], weight, rtol=0, atol=2e-3, msg=name)


def test_a_student_with_its_own_tokenizer_learns_from_sentences(words, tmp_path, reviews):
    other = build_wordpiece_tokenizer(reviews["text"][:9], vocab_size=90, max_length=64)
    tiny_encoder(len(other), layers=2, width=16).save_pretrained(tmp_path / "other")
    other.save_pretrained(tmp_path / "other")
    own = [*words, f"--student={tmp_path / 'other'}"]
    narrow = [*own, "--hidden_cosine=0", "--hidden_mse=0", "--config_overrides={intermediate_size: 32}"]
    refused(narrow, "config_overrides for a student that is made here, found .*other")
    refused(own, "one tokenizer for losses on tokens, found two tokenizers and hidden_cosine, hidden_mse.*work with")
    folder = distill(parse_distillation_arguments([*own, "--hidden_cosine=0", "--hidden_mse=0", "--pooler_cosine=1"]))
    assert AutoModel.from_pretrained(folder).config.hidden_size == 16


def test_a_narrower_student_of_the_same_tokens_is_mapped_to_its_teacher(words):
    narrow = "--config_overrides={hidden_size: 16, intermediate_size: 32}"
    refused([*words, narrow], "a student of the teacher's shape, but for its depth.*student: random")
    folder = distill(parse_distillation_arguments([*words, narrow, "--student=random"]))
    assert AutoModel.from_pretrained(folder).config.hidden_size == 16


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--layers=[0, 1, 2, 3, 3]"], "at most the teacher's 4 layers, found a student with 5"),
        (["--layers=[0, 4]"], "rising layers from 0 to 3, found"),
        (["--layers=[3, 0]"], "rising layers from 0 to 3, found"),
        (["--layers=[]"], "layers of the teacher, counted from 0"),
        (["--max_length=65"], "max_length of at most 64"),
        (["--texts=[validation.csv]"], "text to learn from, found none left after removal"),
        (["--texts=[gone.csv]"], "a data file at .*gone.csv, found nothing there"),
        (["--hidden_cosine=0", "--hidden_mse=0", "--sentence_cosine=0"], "a loss, found all weights 0"),
        (["--hidden_mse=-1"], "hidden_mse of at least 0"),
        (["--config_overrides={hiden_size: 3}"], "config_overrides that bert has, found hiden_size"),
        (["--vocab_size=9"], "room for .* special tokens and characters"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(words, tmp_path, capsys, extra, message):
    assert main([*words, *extra]) == 2

    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "student").exists()


def test_masking_leaves_special_tokens_and_padding_alone(tokenizer, reviews):
    torch.manual_seed(0)
    rows = tokenize_passages(reviews["text"].tolist(), tokenizer, None, 32)
    plain = DistillationCollator(tokenizer)([rows[i] for i in range(len(rows))])
    masked = DistillationCollator(tokenizer, mlm_probability=0.3)([rows[i] for i in range(len(rows))])
    chosen = masked["labels"] != -100
    assert torch.equal(masked["labels"][chosen], plain["input_ids"][chosen])
    assert torch.equal(masked["input_ids"][~chosen], plain["input_ids"][~chosen])
    special = torch.isin(plain["input_ids"], torch.tensor(tokenizer.all_special_ids))
    assert not (chosen & special).any()
    share = chosen.sum() / (~special).sum()
    assert share.item() == pytest.approx(0.3, abs=0.03)
    to_mask = (masked["input_ids"][chosen] == tokenizer.mask_token_id).float().mean().item()
    assert to_mask == pytest.approx(0.8, abs=0.05)


def test_the_loss_is_the_weighted_sum_and_the_teacher_does_not_move(tokenizer, reviews, tmp_path):
    teacher = tiny_encoder(len(tokenizer), seed=1)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    student = copy_layers(teacher, [1, 3], student_config(teacher.config, 2, {"hidden_dropout_prob": 0.0})).eval()
    heads = StudentWithHeads(student, 32, 2, mlm=True)
    rows = tokenize_passages(reviews["text"].tolist()[:8], tokenizer, None, 32)
    torch.manual_seed(0)
    collator = DistillationCollator(tokenizer, mlm_probability=0.3)
    weights = {"hidden_mse": 2.0, "sentence_cosine": 0.5, "pooler_cosine": 0.7, "mlm": 0.3}
    lie = torch.stack([torch.randn(32), torch.rand(32) + 0.5])
    trainer = DistillationTrainer(
        model=heads,
        args=RecipeTrainingArguments(output_dir=str(tmp_path), precision="fp32", use_cpu=True),
        teacher=teacher,
        layers=[1, 3],
        weights=weights,
        sentence_statistics=lie,
        train_dataset=rows,
        data_collator=collator,
    )
    batch = collator([rows[i] for i in range(8)])
    loss = trainer.compute_loss(heads, batch)
    loss.backward()
    mask = batch["attention_mask"].bool()
    labels = batch.pop("labels")
    outputs = student(**batch, output_hidden_states=True)
    mine, theirs = outputs.hidden_states, teacher(**batch, output_hidden_states=True).hidden_states
    pairs = [losses.hidden_mse(mine[1][mask], theirs[2][mask]), losses.hidden_mse(mine[2][mask], theirs[4][mask])]
    sentences = [losses.mean_pool(states[-1], mask) for states in (mine, theirs)]
    expected = 2.0 * sum(pairs) / 2 + 0.5 * losses.sentence_cosine(*sentences)
    expected += 0.7 * losses.sentence_cosine(outputs.pooler_output, (sentences[1] - lie[0]) / lie[1])
    hidden = mine[-1][labels != -100]
    logits = heads.mlm_head(hidden) @ student.get_input_embeddings().weight.T
    expected += 0.3 * torch.nn.functional.cross_entropy(logits, labels[labels != -100])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_how_sentences_lie_is_told_of_each_by_itself(tokenizer, reviews):
    teacher = tiny_encoder(len(tokenizer), seed=1).eval()
    texts = [text * (1 + place % 3) for place, text in enumerate(reviews["text"][:70])]
    read = [tokenizer(text, truncation=True, max_length=32, return_tensors="pt")["input_ids"] for text in texts]
    with torch.no_grad():
        alone = torch.stack([teacher(ids).last_hidden_state[0].mean(0) for ids in read])
    found = sentence_statistics(teacher, tokenizer, texts, 32)
    torch.testing.assert_close(found, torch.stack([alone.mean(0), alone.std(0)]), rtol=1e-4, atol=1e-5)


def test_planted_row_is_counted_in_the_run(words, tmp_path):
    frame = pd.read_csv(tmp_path / "texts.csv")
    planted = pd.DataFrame({"text": ["ＡＣ坏了，没人来修！大厅里一直在施工，睡不着"]})
    held_out = pd.DataFrame({"text": ["AC坏了没人来修,大厅里一直在施工.睡不着"]})
    pd.concat([frame, planted]).to_csv(tmp_path / "texts.csv", index=False)
    held_out.to_csv(tmp_path / "validation.csv", index=False)
    folder = distill(parse_distillation_arguments(words))
    counts = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))["sources"]["texts.csv"]
    assert (counts["equal"], counts["near"], counts["kept"]) == (1, 0, len(frame))


def test_the_recipe_of_the_starter_parses(tmp_path):
    recipe = ROOT / "recipes" / "starter" / "distill.yaml"
    assert len(recipe.read_text(encoding="utf-8").splitlines()) <= 40
    args = parse_distillation_arguments([f"--config={recipe}", f"--output_dir={tmp_path}"])
    assert args.student.layers == [0, 4, 8, 11]
    measured_on = {"chnsenticorp/dev.tsv", "chnsenticorp/test.tsv", "ewect/virus/test.jsonl", "ewect/usual/test.jsonl"}
    assert measured_on <= set(args.decontamination.decontaminate_against)
    assert not any("aic18" in source for source in args.texts.texts)
    again = parse_distillation_arguments(as_command_line(args.as_recipe()))
    assert again.as_recipe() == args.as_recipe()


def test_losses_that_need_a_part_of_the_student(words, tmp_path, tokenizer, teacher_folder):
    from transformers import DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast

    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=64
    )
    DistilBertModel(config).save_pretrained(tmp_path / "distilbert")
    tokenizer.save_pretrained(tmp_path / "distilbert")
    # Saved after a call that padded, it still cuts as the teacher's does.
    padded = PreTrainedTokenizerFast.from_pretrained(tmp_path / "distilbert")
    padded(["房间", "房间很干净"], padding=True, truncation=True, max_length=8)
    padded.save_pretrained(tmp_path / "distilbert")
    own = [*words, f"--student={tmp_path / 'distilbert'}"]
    refused([*own, "--pooler_cosine=1"], "a student with a pooler for pooler_cosine, found none")
    shutil.copytree(teacher_folder, tmp_path / "maskless")
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, **special).save_pretrained(
        tmp_path / "maskless"
    )
    refused(
        [*words, f"--teacher={tmp_path / 'maskless'}", "--mlm=1"], "a tokenizer with a mask token for mlm, found none"
    )
