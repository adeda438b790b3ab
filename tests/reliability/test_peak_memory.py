"""The script of the same name, small."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "peak_memory.py"


def test_a_table_is_predicted_in_less_than_the_limit(model_folder, train_file):
    words = [sys.executable, SCRIPT, train_file, "--rows", "5000", "--model", model_folder]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "\n5,000 rows in " in done.stdout
