"""Runs `sentiment-hf` under faults, each time in a process of its own, and tells what became of it.

Jobs come as lines of JSON on standard input, replies go to standard output in the same way. Every job is forked from
this process, which has imported everything, has done nothing with it and has no other threads. Keys of a job:

- `words`: of the command line
- `kill_at`: the job kills itself, as `kill -9` does, before its change of this number under the folder `within`: a file
  moved or removed outside of work in progress, or one opened for writing inside of it. The moments are the program's
  own, so that they are the same on every machine.
- `file_limit`: bytes that a file may have; the system refuses more, as a full disk does

A reply has `status` (negative: the signal), `changes` (how many there were), `last` (of them) and `said` (the lines
of standard error).
"""

import json
import os
import resource
import signal
import sys
import traceback


def load():
    """Everything that a verb imports, so that a job begins at once."""
    import pandas  # noqa: F401
    import torch

    import sentiment_hf.batch.shards
    import sentiment_hf.compression.pruning
    import sentiment_hf.compression.scored_export
    import sentiment_hf.data.shortcuts
    import sentiment_hf.evaluation.error_report
    import sentiment_hf.inference.predictor
    import sentiment_hf.sweeps.findings_page
    import sentiment_hf.training.run  # noqa: F401

    torch.set_num_threads(1)
    try:
        import matplotlib.backends.backend_agg  # noqa: F401
        import optimum.exporters.onnx
        import optimum.onnxruntime  # noqa: F401
    except ImportError:
        pass


class Changes:
    """Counts the changes of files under a folder, and kills the process before one of them."""

    def __init__(self, job, tell):
        self.within, self.kill_at, self.count, self.tell = job.get("within"), job.get("kill_at"), 0, tell

    def __call__(self, event, arguments):
        if self.within is None or event not in ("os.rename", "os.remove", "open"):
            return
        path = os.fsdecode(arguments[1] if event == "os.rename" else arguments[0]) if self._names(arguments) else ""
        inside = path.startswith(self.within + os.sep)
        in_progress = ".staging-" in path or path.endswith(".partial")
        writes = event == "open" and isinstance(arguments[1], str) and "w" in arguments[1]
        if not inside or not (in_progress and writes if event == "open" else not in_progress):
            return
        self.count += 1
        os.write(self.tell, f"{self.count} {event} {os.path.relpath(path, self.within)}\n".encode())
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def _names(arguments):
        return all(isinstance(argument, (str, bytes, os.PathLike)) for argument in arguments[:1])


def do(job):
    """The job in a process of its own."""
    said, says = os.pipe()
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.close(said)
            os.close(told)
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, 0)
            os.dup2(nowhere, 1)
            os.dup2(says, 2)
            sys.stdout, sys.stderr = (
                os.fdopen(nowhere, "w", closefd=False),
                os.fdopen(says, "w", buffering=1, encoding="utf-8", closefd=False),
            )
            if "file_limit" in job:
                resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_limit"], job["file_limit"]))
            sys.addaudithook(Changes(job, tells))
            from sentiment_hf.cli.main import main

            status = main(job["words"])
        except SystemExit as stop:
            status = stop.code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status if isinstance(status, int) else 98)
    os.close(says)
    os.close(tells)
    # What it tells of its changes fits into a pipe; what it says is read until it ends.
    with os.fdopen(said, encoding="utf-8", errors="replace") as stream:
        lines = stream.read().splitlines()
    with os.fdopen(told, encoding="utf-8", errors="replace") as stream:
        changes = stream.read().splitlines()
    _, status = os.waitpid(child, 0)
    last = changes[-1].partition(" ")[2] if changes else ""
    return {"status": os.waitstatus_to_exitcode(status), "changes": len(changes), "last": last, "said": lines}


def main():
    replies, sys.stdout = sys.stdout, sys.stderr
    load()
    for line in sys.stdin:
        replies.write(json.dumps(do(json.loads(line))) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
