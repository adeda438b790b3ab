"""What a run logged to TensorBoard or W&B, read back from the files that these left in its folder."""

from __future__ import annotations

import json
import logging
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sentiment_hf.training.metric_log import LINES_FILE

logger = logging.getLogger(__name__)

History = list[dict[str, Any]]

TENSORBOARD_FILES, WANDB_FILES = "**/events.out.tfevents.*", "**/*.wandb"
# transformers' prefix in both -> the prefix in a run's own history.
_PREFIXES = {"train/": "", "eval/": "eval_"}
_STEP = "train/global_step"
# W&B's file: a head, then LevelDB's log format, blocks of records that are whole or in parts.
_HEAD, _BLOCK = b":W&B", 32_768
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def tracked(folder: Path) -> dict[str, History]:
    """Whatever trackers left in a run's folder: their name -> records as in a run's own history, by step.

    A tracker whose package is not installed is left out with a warning, and so is a log that cannot be read.
    """
    found: dict[str, History] = {}
    readers: dict[str, tuple[str, Callable[[Path], Iterator[dict[str, Any]]]]] = {
        "TensorBoard": (TENSORBOARD_FILES, _tensorboard),
        "W&B": (WANDB_FILES, _wandb),
    }
    for name, (pattern, read) in readers.items():
        merged: dict[int, dict[str, Any]] = {}
        try:
            # In the order of time: what a resumed run logged again replaces what it had logged before.
            for file in sorted(folder.glob(pattern), key=lambda file: file.stat().st_mtime):
                for record in read(file):
                    merged.setdefault(record["step"], {}).update(record)
        except ImportError as error:
            logger.warning(
                "the %s log in %s is not read: pip install 'sentiment_hf[trackers]' (%s)", name, folder, error
            )
            continue
        except Exception as error:  # a foreign format, which may change and may be cut off anywhere
            logger.warning("the %s log in %s cannot be read: %s", name, folder, error)
            continue
        if merged:
            found[name] = [merged[step] for step in sorted(merged)]
    return found


def last_words(folder: Path) -> str:
    """How far a run came that did not finish, by the first log that tells: its own, TensorBoard's or W&B's."""
    for name, history in (("own log", _own(folder)), *tracked(folder).items()):
        steps = [record["step"] for record in history if "step" in record]
        if not steps:
            continue
        scores = [record["eval_macro_f1"] for record in history if "eval_macro_f1" in record]
        best = f", best macro-F1 on dev {100 * max(scores):.2f}" if scores else ""
        return f"reached step {max(steps):,}{best} ({name})"
    return ""


def disagreement(history: History, logged: History) -> str:
    """Where a tracker says something else of dev than the run itself: the first such place, or nothing."""
    own = {record["step"]: record["eval_macro_f1"] for record in history if "eval_macro_f1" in record}
    for record in logged:
        score, step = record.get("eval_macro_f1"), record["step"]
        # TensorBoard keeps 32 bits of a number.
        if score is not None and not math.isclose(score, own.get(step, math.nan), rel_tol=1e-5):
            here = f"{100 * own[step]:.2f}" if step in own else "nothing"
            return f"macro-F1 {100 * score:.2f} on dev at step {step:,}, the run's record {here}"
    return ""


def _own(folder: Path) -> History:
    file = folder / LINES_FILE
    if not file.is_file():
        return []
    records: History = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            # The line that the run was stopped in.
            break
    return records


def _tensorboard(file: Path) -> Iterator[dict[str, Any]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(file), size_guidance={"scalars": 0})
    events.Reload()
    for tag in events.Tags()["scalars"]:
        name = _own_name(tag)
        if name:
            yield from ({"step": event.step, name: event.value} for event in events.Scalars(tag))


def _wandb(file: Path) -> Iterator[dict[str, Any]]:
    from wandb.proto import wandb_internal_pb2

    for content in _records(file.read_bytes()):
        message = wandb_internal_pb2.Record()
        message.ParseFromString(content)
        items = {"/".join(item.nested_key) or item.key: item.value_json for item in message.history.item}
        if _STEP not in items:
            continue
        values = {_own_name(name): json.loads(value) for name, value in items.items() if name != _STEP}
        yield {"step": int(json.loads(items[_STEP]))} | {name: value for name, value in values.items() if name}


def _own_name(tag: str) -> str:
    """`eval/loss` -> `eval_loss`, `train/loss` -> `loss`; nothing for what is no figure of training."""
    for prefix, own in _PREFIXES.items():
        if tag.startswith(prefix):
            return own + tag.removeprefix(prefix)
    return ""


def _records(content: bytes) -> Iterator[bytes]:
    """The records of a file of W&B, up to where it was cut off.

    Raises:
        ValueError: not such a file.
    """
    if not content.startswith(_HEAD):
        raise ValueError("not a file of W&B")
    # The marker, a magic number and the version.
    place, begun = len(_HEAD) + 3, b""
    while place + 7 <= len(content):
        if _BLOCK - place % _BLOCK < 7:
            # What is left of a block is too short for a record's head, and empty.
            place += _BLOCK - place % _BLOCK
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        part = content[place + 7 : place + 7 + length]
        if len(part) < length or kind not in (_WHOLE, _FIRST, _MIDDLE, _LAST):
            return
        place += 7 + length
        begun = part if kind in (_WHOLE, _FIRST) else begun + part
        if kind in (_WHOLE, _LAST):
            yield begun
