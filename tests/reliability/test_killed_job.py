"""The script of the same name, small."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "killed_job.py"


def test_a_job_of_two_processes_goes_on_after_one_was_killed(model_folder, tmp_path):
    words = [sys.executable, SCRIPT, "--rows", "2000", "--shards", "40", "--model", model_folder, "--folder", tmp_path]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2,000 rows, every one once and in order" in done.stdout
