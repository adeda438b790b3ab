import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from sentiment_hf.training.allocation import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
import numpy
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    numpy.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    """Pages that the system had to hand out while a block of 64 MB was taken and freed twenty times."""
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone is asked")
def test_freed_memory_is_taken_again_without_the_system() -> None:
    assert page_faults("keep") < page_faults("give back") / 5
