"""A process that talks to the Hub on behalf of the tests: the client reads its settings once, when it is imported.

For each line `{"words": [...], "token": ...}` it runs `sentiment-hf` and writes `{"status", "out", "err"}`.
"""

import contextlib
import io
import json
import os
import sys
import traceback

from sentiment_hf.cli.main import main

for line in sys.stdin:
    asked = json.loads(line)
    os.environ["HF_TOKEN"] = asked["token"]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(asked["words"])
        except Exception:
            status = 1
            traceback.print_exc()
    sys.stdout.write(json.dumps({"status": status, "out": out.getvalue(), "err": err.getvalue()}) + "\n")
    sys.stdout.flush()
