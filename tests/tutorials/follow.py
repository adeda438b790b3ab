"""Follow a tutorial in the current folder: `python follow.py PAGE.md [FULL]` runs its blocks in one process.

`python` runs as it stands, `yaml` becomes the file that its first line names, of `bash` each line has to be a
`sentiment-hf` command or an `export`. Two steps of training stand for all of them, unless FULL is given. What each
block printed goes to `followed.json`.
"""

import contextlib
import io
import json
import os
import re
import shlex
import sys
from pathlib import Path

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What is shortened: after two steps neither the gate nor a threshold has much to go by.
SHORTER = {
    "train": ["--max_steps=2", "--max_drop=100", "--disable_tqdm=true", "--precision=fp32"],
    "compress": ["--max_drop=100"],
    "evaluate": ["--precision=0.01"],
}


def blocks_of(page: Path) -> list[tuple[str, str]]:
    """Language and text of every fenced block."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def commands_of(block: str) -> list[list[str]]:
    """The lines of a bash block as words, without comments."""
    return [words for line in block.replace("\\\n", " ").splitlines() if (words := shlex.split(line, comments=True))]


def run_command(words: list[str], full: bool) -> None:
    from sentiment_hf.cli.main import main

    if words[0] == "export":
        name, _, value = words[1].partition("=")
        os.environ[name] = value
        return
    assert words[0] == "sentiment-hf", words
    shorter = [] if full else SHORTER.get(words[1], [])
    if (words[1] == "evaluate" and "--precision" not in words) or (words[1] == "compress" and words[2] != "export"):
        shorter = []
    if words[1] == "train" and "none" in words:
        shorter = [word for word in shorter if not word.startswith("--max_drop")]
    status = main(words[1:] + shorter)
    assert status == 0, (status, words)


def follow(page: Path, full: bool) -> list[dict[str, str]]:
    """Run the page; a block that fails ends it with the block's own error."""
    names: dict[str, object] = {"__name__": "tutorial"}
    followed = []
    for language, block in blocks_of(page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            if language == "python":
                exec(compile(block, f"{page.name} (python)", "exec"), names)
            elif language == "yaml":
                name = block.splitlines()[0].removeprefix("# ")
                assert re.fullmatch(r"[\w.]+\.yaml", name), name
                Path(name).write_text(block, encoding="utf-8")
            elif language == "bash":
                for words in commands_of(block):
                    run_command(words, full)
            else:
                assert language == "text", language
        followed.append({"language": language, "block": block, "printed": printed.getvalue()})
    return followed


if __name__ == "__main__":
    result = follow(Path(sys.argv[1]), full=sys.argv[2:] == ["FULL"])
    Path("followed.json").write_text(json.dumps(result, ensure_ascii=False, indent=1), encoding="utf-8")
