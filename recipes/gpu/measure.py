"""What everything that says GPU does on one: a table with the card's name and the same as JSON.

    python recipes/gpu/measure.py --data_dir data --output_dir runs/gpu
    python recipes/gpu/measure.py --data_dir data --output_dir runs/gpu --parts onnx --model runs/mine
    python recipes/gpu/measure.py --data_dir data --output_dir runs/gpu --on_cpu  # to hold its scores against

Every part runs in a process of its own under its own time limit and writes a row as soon as it is measured, so a part
that hangs or fails costs its own rows alone; `--parts` measures some again, and the others keep their rows. Without a
GPU it is a dry run: every part runs on a few rows on the CPU, a part that fails is said, and what no GPU has measured
says "not run".
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from sentiment_hf.config.recipe import read_recipe
from sentiment_hf.data.tables import read_table
from sentiment_hf.inference.onnx_providers import PROVIDERS
from sentiment_hf.inference.onnx_session import onnx_forward, open_session
from sentiment_hf.inference.scorer import TextScorer
from sentiment_hf.modeling.classifier import load_classifier
from sentiment_hf.modeling.config_io import recorded_settings
from sentiment_hf.modeling.forward import torch_forward
from sentiment_hf.modeling.loading import load_config, load_tokenizer
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import InputError, exits_cleanly
from sentiment_hf.utils.files import read_json, write_json, write_text

RECIPES = Path(__file__).parents[1]
TOKENS = (16, 32, 64, 128)
SEEDS = (42, 43, 44)
Row = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    """A recipe and the rows that it learns here.

    Attributes:
        recipe: under `recipes/`.
        files: of training and validation rows, under the data folder.
        rows: so many training rows.
        score: of `metrics.json`; None: nothing to score.
        keys: of the recipe, otherwise than there.
    """

    recipe: str
    files: tuple[str, str]
    rows: int
    score: str | None = "macro_f1"
    keys: dict[str, Any] = field(default_factory=dict)


CHN, USUAL = ("chnsenticorp/train.tsv", "chnsenticorp/dev.tsv"), ("ewect/usual/train.jsonl", "ewect/usual/dev.jsonl")
NEWS = ("thucnews_long/train.jsonl.gz", "thucnews_long/dev.jsonl.gz")
RESTAURANTS = ("aic18_restaurant/train.jsonl.gz", "aic18_restaurant/dev.jsonl.gz")
VALIDATION_ROWS = 300
KINDS = {
    "reviews": Kind("reviews/plain.yaml", CHN, 2000),
    "reviews, R-Drop": Kind("reviews/rdrop.yaml", CHN, 2000),
    "emotion, balanced weights": Kind("emotion/balanced.yaml", USUAL, 2000),
    "emotion, focal loss": Kind("emotion/focal.yaml", USUAL, 2000),
    "topics, windows": Kind("topics/sliding_mean.yaml", NEWS, 200, keys={"max_chunks_per_batch": 4}),
    "topics, hierarchical": Kind("topics/hierarchical.yaml", NEWS, 200),
    "aspects": Kind("aspects/thousand_rows.yaml", RESTAURANTS, 400),
    "distillation": Kind("starter/distill.yaml", CHN, 2000, score=None),
}
SMALL = {"reviews": "reviews/gpu_4gb.yaml", "aspects": "aspects/gpu_4gb.yaml"}


@dataclass(frozen=True)
class Bench:
    """What all parts are given: where to read and write, and on what to run."""

    data_dir: Path
    folder: Path
    model: str | None
    dry: bool
    on_cpu: bool = False
    seeds: tuple[int, ...] = SEEDS

    @property
    def device(self) -> str:
        return "cpu" if self.dry or self.on_cpu else "cuda"

    def sample(self, name: str, rows: int) -> Path:
        """Write some rows of a file of the data folder, always the same, to a file of their own."""
        rows = max(16, rows // 12) if self.dry else rows
        target = self.folder / "data" / f"{rows}-{name.replace('/', '-').partition('.')[0]}.jsonl"
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            frame = read_table(self.data_dir / name)
            chosen = frame.sample(min(rows, len(frame)), random_state=0)
            write_text(target, chosen.to_json(orient="records", lines=True, force_ascii=False))
        return target

    def classifier(self) -> str:
        """Choose the model that predicts: the one given, else one of this measurement's own."""
        name = self.model or str(self.folder / "runs" / "alone")
        if not Path(name).is_dir():
            raise InputError("a trained model", "none", "Give --model, or run the part `processes` first.")
        return name

    def train(
        self,
        name: str,
        kind: Kind,
        keys: dict[str, Any],
        launcher: tuple[str, ...] = (),
        keep: bool = False,
        variables: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Train in a process of its own, with `keep` on in the folder that is there; its `run.json` with its score."""
        run = self.folder / "runs" / name
        if not keep:
            shutil.rmtree(run, ignore_errors=True)
        run.parent.mkdir(parents=True, exist_ok=True)
        recipe = read_recipe(RECIPES / kind.recipe, known=None)
        train_file = str(self.sample(kind.files[0], kind.rows))
        if kind.score is None:
            module = "sentiment_hf.distillation.run"
            # Half of the starter learns from the whole; nothing is measured with it that would have to be held out.
            recipe = {
                key: value for key, value in recipe.items() if not key.startswith(("decontaminate", "vocab", "save"))
            }
            recipe |= {"teacher": "starter", "layers": [0, 3], "texts": [train_file], "data_dir": "."}
        else:
            module = "sentiment_hf.training.run"
            recipe = {key: value for key, value in recipe.items() if key not in ("dataset", "test_file")}
            recipe |= {"train_file": train_file, "validation_file": str(self.sample(kind.files[1], VALIDATION_ROWS))}
            recipe |= {"baseline": False, "quantize": "none"}
        recipe |= {"logging_steps": 5} | kind.keys | ({"num_train_epochs": 1} if self.dry else {}) | keys
        recipe |= {"use_cpu": True} if self.device == "cpu" else {}
        file = run.parent / f"{name}.yaml"
        write_text(file, yaml.safe_dump(recipe, allow_unicode=True, sort_keys=False))
        words = ["--config", str(file), "--output_dir", str(run)]
        log = run.parent / f"{name}.log"
        if launcher:
            command = [sys.executable, *launcher, module, *words]
            environment = os.environ | {"HF_HUB_OFFLINE": "1"} | (variables or {})
            with log.open("w", encoding="utf-8") as out:
                code = subprocess.run(command, stdout=out, stderr=out, env=environment, check=False).returncode
        else:
            code = in_fork(module, words, log, variables or {})
        if code:
            raise RuntimeError(f"{name} ended with {code}: {_last_line(log)}")
        record: dict[str, Any] = read_json(run / "run.json")
        record["losses"] = [line["loss"] for line in record["history"] if "loss" in line]
        if kind.score is not None:
            record["score"] = 100 * read_json(run / "metrics.json")["fp32"][kind.score]
        return record


def in_fork(module: str, words: list[str], log: Path, variables: dict[str, str]) -> int:
    """Run a module in a process of its own, whose imports another has made once for all of them; its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sentiment_hf.training.run", "sentiment_hf.distillation.run"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(module, words, str(log), variables, sender))
    process.start()
    sender.close()
    process.join()
    try:
        # Not its exit code: whoever starts a process asks for the codes of all, and who asks second is told 255.
        code: int = receiver.recv()
    except EOFError:
        return process.exitcode or 1
    return code


def _run(module: str, words: list[str], log: str, variables: dict[str, str], sender: Connection) -> None:
    os.environ |= {"HF_HUB_OFFLINE": "1"} | variables
    with open(log, "w", encoding="utf-8") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    sender.send(importlib.import_module(module).main(words))


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing was printed"


def training(bench: Bench) -> Iterator[Row]:
    """Every kind of recipe in both half precisions; several run at a time, so nothing here is timed."""
    precisions = ("auto",) if bench.on_cpu else ("fp32",) if bench.dry else ("bf16", "fp16")
    jobs = [(kind, precision, seed) for seed in bench.seeds for precision in precisions for kind in KINDS]
    for kind in KINDS.values():
        # Here, where nobody else writes them.
        bench.sample(kind.files[0], kind.rows)
        bench.sample(kind.files[1], VALIDATION_ROWS)
    found: dict[str, list[dict[str, Any]]] = {}
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 2) // 2)) as pool:
        waiting = {}
        for kind, precision, seed in jobs:
            name = f"{kind.replace(', ', '-').replace(' ', '_')}-{precision}-{seed}"
            keys = {"precision": precision, "seed": seed}
            waiting[pool.submit(bench.train, name, KINDS[kind], keys)] = f"{kind}, {precision}"
        for done in as_completed(waiting):
            row = waiting[done]
            try:
                found.setdefault(row, []).append(done.result())
            except (RuntimeError, OSError) as error:
                yield row, {"error": str(error)}
                continue
            # Written anew with every seed, so that what is stopped keeps the seeds that it had.
            yield row, trained(found[row])


def trained(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarize the runs of several seeds in one row."""
    losses = [run["losses"] for run in runs if run["losses"]]
    row: dict[str, Any] = {"seeds": len(runs)}
    if losses:
        row["first loss"] = round(statistics.mean(loss[0] for loss in losses), 3)
        row["last loss"] = round(statistics.mean(loss[-1] for loss in losses), 3)
    row["peak MB"] = max(run.get("peak_memory_mb", {}).get("gpu", 0.0) for run in runs) or None
    if "score" in runs[0]:
        row["scores"] = [round(run["score"], 2) for run in runs]
        row["macro-F1"] = _spread(row["scores"])
    return row


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def memory(bench: Bench) -> Iterator[Row]:
    """Train by the recipes for 4 GB, each in a process that is given no more than that."""
    for task, recipe in SMALL.items():
        kind = Kind(recipe, KINDS[task].files, 2000 if task == "reviews" else 400)
        keys = {"num_train_epochs": 1} | ({"rating": "none"} if task == "aspects" else {})
        keys |= {"precision": "fp32"} if bench.dry else {}
        figures = bench.folder / f"memory-{task}.json"
        launcher = (__file__, "--within_4gb", str(figures), "--")
        bench.train(f"memory-{task}", kind, keys, launcher)
        yield recipe, read_json(figures)


def within_4gb(figures: Path, words: list[str]) -> int:
    """Train as the words say, in at most 4 GB of the card, of which CUDA's own 0.5 GB are part; what it took."""
    from sentiment_hf.training.run import main as train

    limit, own = 4e9, 0.5e9
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.init()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((limit - own) / total)
    code = train(words[1:])
    if on_gpu:
        taken = {"allocated MB": torch.cuda.max_memory_allocated(), "reserved MB": torch.cuda.max_memory_reserved()}
        free, total = torch.cuda.mem_get_info()
        # What the card's other users hold is in there, so nobody else may be on it.
        context = total - free - torch.cuda.memory_reserved()
        taken["with CUDA's own MB"] = torch.cuda.max_memory_reserved() + context
        write_json(figures, {name: round(value / 1e6, 1) for name, value in taken.items()})
    else:
        write_json(figures, {})
    return code


def resume(bench: Bench) -> Iterator[Row]:
    """Compare a run that goes on from its first checkpoint with one that never stopped: same weights, bit for bit?"""
    kind = Kind("reviews/rdrop.yaml", CHN, 512)
    for precision in ("fp32", "bf16", "fp16"):
        if bench.dry and precision != "fp32":
            continue
        keys = {"precision": precision, "num_train_epochs": 2, "full_determinism": True}
        # The last model is that of the last step, whichever scored best.
        keys |= {"load_best_model_at_end": False}
        variables = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
        bench.train(f"whole-{precision}", kind, keys, variables=variables)
        whole = bench.folder / "runs" / f"whole-{precision}"
        stopped = bench.folder / "runs" / f"stopped-{precision}"
        shutil.rmtree(stopped, ignore_errors=True)
        shutil.copytree(whole, stopped)
        (stopped / "model.safetensors").unlink()
        checkpoints = sorted(stopped.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        for later in checkpoints[1:]:
            shutil.rmtree(later)
        record = bench.train(stopped.name, kind, keys | {"resume_from_checkpoint": "true"}, (), True, variables)
        furthest = furthest_weight(whole, stopped)
        yield f"resumed, {precision}", {"went on from": record["resumed_from"], "furthest weight": furthest}


def furthest_weight(one: Path, other: Path) -> float:
    """Find the largest difference of two models' weights; 0 only where all are equal bit for bit."""
    from safetensors.torch import load_file

    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return float(f"{max(float((first[name] - second[name]).abs().max()) for name in first):.2g}")


def processes(bench: Bench) -> Iterator[Row]:
    """One process started as several are: NCCL with a whole copy of the model, and with a sharded one."""
    kind, keys = Kind("reviews/plain.yaml", CHN, 512), {"precision": "fp32", "num_train_epochs": 1}
    alone = bench.train("alone", kind, keys)
    # accelerate's launcher starts no DistributedDataParallel of one process; torch's own does.
    ways = {
        "DDP": ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1", "-m"),
        "FSDP": ("-m", "accelerate.commands.launch", "--config_file", str(RECIPES / "accelerate/fsdp.yaml")),
    }
    ways["FSDP"] += ("--num_processes", "1", "-m")
    if bench.dry:
        del ways["FSDP"]  # accelerate shards on accelerators alone
    for name, launcher in ways.items():
        own = keys | ({"ddp_backend": "gloo"} if bench.dry else {})
        record = bench.train(name, kind, own, launcher)
        folder = bench.folder / "runs"
        yield (
            name,
            {
                "distributed_type": record["distributed_type"],
                "processes": record["num_processes"],
                "macro-F1": round(record["score"], 2),
                "alone": round(alone["score"], 2),
                "furthest weight": furthest_weight(folder / "alone", folder / name),
            },
        )


def speed(bench: Bench) -> Iterator[Row]:
    """How long fine-tuning takes, one run at a time on an idle card."""
    kind = Kind("reviews/plain.yaml", CHN, 2000)
    sdpa = {"precision": "bf16", "attn_implementation": "sdpa"}
    ways: dict[str, dict[str, Any]] = {
        **{f"{precision}, eager attention": {"precision": precision} for precision in ("fp32", "bf16", "fp16")},
        "bf16, sdpa": sdpa,
        "bf16, sdpa, batches of 128": sdpa | {"per_device_train_batch_size": 128},
        "bf16, sdpa, torch.compile": sdpa | {"torch_compile": True},
    }
    for name, keys in ways.items():
        if bench.dry and name != "fp32, eager attention":
            continue
        record = bench.train(f"speed-{name.replace(', ', '-').replace(' ', '_')}", kind, keys)
        figures = next(line for line in reversed(record["history"]) if "train_samples_per_second" in line)
        yield name, {"rows a second": round(figures["train_samples_per_second"]), "seconds": record["training_seconds"]}


Forward = Callable[[dict[str, np.ndarray]], np.ndarray]


def latency(bench: Bench) -> Iterator[Row]:
    """Milliseconds of one text of so many tokens: ids on the host in, logits on the host out."""
    for name, forward in torch_ways(bench).items():
        yield name, times(forward, 3 if bench.dry else 500)


def torch_ways(bench: Bench) -> dict[str, Forward]:
    """Load the classifier in torch, in every way to run it."""
    name = bench.classifier()
    config = load_config(name)
    ways: dict[str, Forward] = {}
    for kind, dtype in (("fp32", torch.float32), ("fp16", torch.float16)):
        if bench.dry and kind == "fp16":
            continue
        model = load_classifier(name, config).to(bench.device, dtype)
        ways[f"torch, {kind}"] = torch_forward(model)
        if bench.device == "cuda":
            ways[f"torch, {kind}, CUDA graphs"] = with_cuda_graphs(model)
    if bench.device == "cuda":
        compiled = torch.compile(load_classifier(name, config).to("cuda", torch.float16).eval(), mode="reduce-overhead")

        @torch.inference_mode()
        def run(batch: dict[str, np.ndarray]) -> np.ndarray:
            tensors = {key: torch.from_numpy(value).to("cuda") for key, value in batch.items()}
            return compiled(**tensors).logits.float().cpu().numpy()

        ways["torch, fp16, torch.compile"] = run
    return ways


def with_cuda_graphs(model: Any) -> Forward:
    """Build a forward whose kernels are recorded once a shape and launched together from then on."""
    model.eval()
    recorded: dict[tuple[int, ...], Any] = {}

    def record(batch: dict[str, np.ndarray]) -> Any:
        inputs = {name: torch.from_numpy(value).to("cuda") for name, value in batch.items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                model(**inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = model(**inputs).logits.float()
        return graph, inputs, logits

    @torch.inference_mode()
    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        shape = batch["input_ids"].shape
        if shape not in recorded:
            recorded[shape] = record(batch)
        graph, inputs, logits = recorded[shape]
        for name, value in batch.items():
            inputs[name].copy_(torch.from_numpy(value), non_blocking=True)
        graph.replay()
        return logits.cpu().numpy()

    return run


def batch_of(rows: int, tokens: int, seed: int = 0) -> dict[str, np.ndarray]:
    ids = np.random.default_rng(seed).integers(1000, 9000, (rows, tokens))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def times(forward: Forward, calls: int) -> dict[str, str]:
    """Median and 99th percentile in milliseconds, for each length."""
    row = {}
    for tokens in TOKENS:
        batches = [batch_of(1, tokens, seed) for seed in range(16)]
        for batch in batches[: min(calls, 16)]:
            forward(batch)
        took = []
        for call in range(calls):
            start = time.perf_counter()
            forward(batches[call % 16])
            took.append(1000 * (time.perf_counter() - start))
        row[f"{tokens} tokens"] = f"{np.percentile(took, 50):.2f} / {np.percentile(took, 99):.2f}"
    return row


def throughput(bench: Bench) -> Iterator[Row]:
    """Reviews a second, strings in and logits out, sorted by length inside; and whether the labels are FP32's."""
    name = bench.classifier()
    config, tokenizer = load_config(name), load_tokenizer(name)
    settings = recorded_settings(config, tokenizer, name)
    rows = read_table(bench.sample(CHN[0], 4000))
    texts = rows[next(name for name in ("text", "text_a") if name in rows)].astype(str).tolist()
    cpu = TextScorer(tokenizer, settings, torch_forward(load_classifier(name, config)), batch_size=16)
    reference = cpu.logits(texts[:500])
    for kind, dtype, rows in (("fp32", torch.float32, 32), ("fp16", torch.float16, 32), ("fp16", torch.float16, 256)):
        if bench.dry and kind == "fp16":
            continue
        forward = torch_forward(load_classifier(name, config).to(bench.device, dtype))
        scorer = TextScorer(tokenizer, settings, forward, batch_size=rows)
        scorer.logits(texts)
        start = time.perf_counter()
        logits = scorer.logits(texts)
        seconds = time.perf_counter() - start
        yield (
            f"torch, {kind}, batches of {rows}",
            {
                "reviews a second": round(len(texts) / seconds),
                "labels as on the CPU": f"{(logits[:500].argmax(1) == reference.argmax(1)).sum()} of {len(reference)}",
                "furthest logit": round(float(np.abs(logits[:500] - reference).max()), 4),
            },
        )


def onnx(bench: Bench) -> Iterator[Row]:
    """ONNX Runtime on every provider: which one really ran, how long a text takes, how far its logits are."""
    file = Path(bench.model or "") / "onnx" / "model.onnx"
    if not file.is_file():
        remedy = "Give --model, a run that was exported: sentiment-hf compress export --model RUN --quantize none"
        raise InputError("a model with onnx/model.onnx", str(bench.model), remedy)
    exact = onnx_forward(open_session(file))(batch_of(8, 64))
    for provider in ("cuda", "tensorrt"):
        session = open_session(file, provider)
        running = session.get_providers()[0]
        if running != PROVIDERS[provider]:
            yield f"ONNX, {provider}", {"ran on": f"{running}: the one asked for does not run here"}
            continue
        forward = onnx_forward(session)
        row = {"ran on": running, **times(forward, 500)}
        yield (
            f"ONNX, {provider}",
            row | {"furthest logit": round(float(np.abs(forward(batch_of(8, 64)) - exact).max()), 4)},
        )


@dataclass(frozen=True)
class Part:
    """A part of the table.

    Attributes:
        run: yields rows as they are measured.
        seconds: after which it is stopped.
        columns: of its table.
        rows: all that it should yield.
    """

    run: Callable[[Bench], Iterator[Row]]
    seconds: int
    columns: tuple[str, ...]
    rows: tuple[str, ...]


_LENGTHS = tuple(f"{tokens} tokens" for tokens in TOKENS)
PARTS = {
    "processes": Part(
        processes, 120, ("distributed_type", "processes", "macro-F1", "alone", "furthest weight"), ("DDP", "FSDP")
    ),
    "latency": Part(
        latency,
        60,
        _LENGTHS,
        tuple(
            f"torch, {way}" for way in ("fp32", "fp32, CUDA graphs", "fp16", "fp16, CUDA graphs", "fp16, torch.compile")
        ),
    ),
    "throughput": Part(
        throughput,
        60,
        ("reviews a second", "labels as on the CPU", "furthest logit"),
        tuple(f"torch, {way}" for way in ("fp32, batches of 32", "fp16, batches of 32", "fp16, batches of 256")),
    ),
    "memory": Part(memory, 90, ("allocated MB", "reserved MB", "with CUDA's own MB"), tuple(SMALL.values())),
    "resume": Part(
        resume, 120, ("went on from", "furthest weight"), tuple(f"resumed, {kind}" for kind in ("fp32", "bf16", "fp16"))
    ),
    "speed": Part(
        speed,
        100,
        ("rows a second", "seconds"),
        (
            *(f"{kind}, eager attention" for kind in ("fp32", "bf16", "fp16")),
            *("bf16, sdpa", "bf16, sdpa, batches of 128", "bf16, sdpa, torch.compile"),
        ),
    ),
    "training": Part(
        training,
        160,
        ("seeds", "first loss", "last loss", "macro-F1", "on the CPU", "peak MB"),
        tuple(f"{kind}, {precision}" for kind in KINDS for precision in ("bf16", "fp16")),
    ),
    "onnx": Part(onnx, 60, ("ran on", *_LENGTHS, "furthest logit"), ("ONNX, cuda", "ONNX, tensorrt")),
}


def card() -> dict[str, Any]:
    """Describe the card and what drives it."""
    import accelerate
    import transformers

    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "accelerate": accelerate.__version__,
    }
    if not torch.cuda.is_available():
        return {"card": "none", **versions}
    properties = torch.cuda.get_device_properties(0)
    return {
        "card": properties.name,
        "memory GB": round(properties.total_memory / 1e9, 1),
        "CUDA": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version(),
        **versions,
    }


def rows_file(folder: Path, name: str, dry: bool) -> Path:
    """Where the rows of a part are; those of a dry run stand apart from what a GPU has measured."""
    return folder / ("rows-dry" if dry else "rows") / f"{name}.jsonl"


def measure(name: str, bench: Bench) -> None:
    """Run a part in this process; rows go to a file as they come."""
    rows = rows_file(bench.folder, name, bench.dry)
    rows.parent.mkdir(parents=True, exist_ok=True)
    rows.unlink(missing_ok=True)
    # Several trainings run at a time, and a GPU's needs little of the processor.
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    for row, figures in PARTS[name].run(bench):
        with rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"row": row, **figures}, ensure_ascii=False) + "\n")


def in_own_process(name: str, words: list[str], folder: Path) -> str | None:
    """Run a part; why it did not come to its end, or None."""
    log = folder / f"{name}.log"
    # A dry run shows that a part works, and on a CPU that takes what it takes.
    dry = not torch.cuda.is_available()
    limit = 3600 if dry else PARTS[name].seconds
    with log.open("w", encoding="utf-8") as out:
        # A group of its own, so that what it started ends with it.
        command = [sys.executable, __file__, *words, "--part", name]
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            return f"stopped after {limit} s"
    if code:
        return _last_line(log)
    rows = rows_file(folder, name, dry).read_text(encoding="utf-8").splitlines()
    return next((row["error"] for row in map(json.loads, rows) if "error" in row), None)


def tables(folder: Path) -> tuple[str, dict[str, Any]]:
    """All that a GPU has measured so far, as Markdown and as one object; what is missing says why."""
    machine, reasons, on_cpu = (_read(folder / f"{name}.json") for name in ("machine", "reasons", "cpu"))
    found: dict[str, Any] = {"machine": machine or card(), "parts": {}}
    lines = [
        "# Measured on a GPU",
        "",
        ", ".join(f"{key} {value}" for key, value in found["machine"].items()) + ".",
        "",
    ]
    for name, part in PARTS.items():
        file = rows_file(folder, name, dry=False)
        content = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        rows: dict[str, dict[str, Any]] = {}
        for figures in map(json.loads, content):
            row = figures.pop("row")
            rows[row] = rows.get(row, {}) | figures
        lines += [
            f"## {'ONNX Runtime' if name == 'onnx' else name.capitalize()}",
            "",
            (part.run.__doc__ or "").strip(),
            "",
        ]
        lines += ["| | " + " | ".join(part.columns) + " |", "|---" * (len(part.columns) + 1) + "|"]
        for row in part.rows:
            figures = rows.get(row) or {"note": "not run" + (f": {reasons[name]}" if reasons.get(name) else "")}
            if "scores" in figures and row.rpartition(", ")[0] in on_cpu:
                figures["on the CPU"] = _spread(on_cpu[row.rpartition(", ")[0]])
            found["parts"].setdefault(name, {})[row] = figures
            cells = [figures.get(column) for column in part.columns]
            if not any(cell is not None for cell in cells):
                cells[0] = figures.get("error") or figures.get("note")
            lines.append(f"| {row} | " + " | ".join("–" if cell is None else str(cell) for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines), found


def _read(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}


@exits_cleanly
def main() -> int:
    words = sys.argv[1:]
    if "--within_4gb" in words[:1]:
        split = words.index("--")
        return within_4gb(Path(words[1]), words[split + 1 :])
    log_to_stderr()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output_dir", type=Path, required=True, help="where runs and results go")
    parser.add_argument("--model", help="folder of a trained classifier, for latency, throughput and ONNX")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which of them (all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), help="of every training (42 43 44)")
    parser.add_argument("--on_cpu", action="store_true", help="train the same rows on the CPU, for the comparison")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    folder = args.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    dry = not torch.cuda.is_available() and not args.on_cpu
    seeds = tuple(args.seeds[:1] if dry else args.seeds)
    bench = Bench(args.data_dir, folder, args.model, dry, args.on_cpu, seeds)
    if args.part:
        measure(args.part, bench)
        return 0
    if args.on_cpu:
        os.environ.setdefault("OMP_NUM_THREADS", "2")
        for row, figures in training(bench):
            show(f"{row}: {figures}")
            if "scores" in figures:
                scores = _read(folder / "cpu.json") | {row.rpartition(", ")[0]: figures["scores"]}
                write_json(folder / "cpu.json", scores)
        return 0
    shared = ["--data_dir", str(args.data_dir), "--output_dir", str(folder), "--seeds", *map(str, args.seeds)]
    shared += ["--model", args.model] if args.model else []
    reasons, failed = _read(folder / "reasons.json"), False
    if not dry:
        write_json(folder / "machine.json", card())
    for name in args.parts:
        start = time.perf_counter()
        why = in_own_process(name, shared, folder)
        show(f"{name}: {why or 'done'} ({time.perf_counter() - start:.0f} s)")
        # A dry run says nothing of what a GPU would have done.
        reasons |= {} if dry and rows_file(folder, name, dry=False).is_file() else {name: "no GPU" if dry else why}
        failed = failed or why is not None
        write_json(folder / "reasons.json", reasons)
        text, found = tables(folder)
        write_text(folder / "gpu.md", text)
        write_json(folder / "gpu.json", found)
    show(text)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
