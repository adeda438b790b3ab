"""Start the server by hand: `PYTHONPATH=tests python -m hub_server`."""

import argparse
import sys
import threading

from hub_server.server import serve
from hub_server.store import Account, Hub

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--port", type=int, default=8765)
args = parser.parse_args()
accounts = {"hf_write": Account("alice"), "hf_read": Account("alice", "read", "reader"), "hf_bob": Account("bob")}
with serve(Hub(accounts=accounts), args.port) as endpoint:
    sys.stderr.write(f"serving; export HF_ENDPOINT={endpoint} HF_TOKEN=hf_write HF_HUB_DISABLE_XET=1\n")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
