"""`shard_on_cpu.py MODULE WORDS`: what `accelerate launch -m MODULE WORDS` does with FSDP, on the processes of a CPU.

accelerate shards (FSDP) over accelerators alone, torch over a CPU's processes as well: accelerate is told that each has
one. All that comes after that is theirs.
"""

import importlib
import sys

from accelerate.state import DistributedType, PartialState

_start = PartialState.__init__


def _start_on_cpu(self, cpu=False, **kwargs):
    _start(self, True, **kwargs)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU


if __name__ == "__main__":
    PartialState.__init__ = _start_on_cpu
    sys.exit(importlib.import_module(sys.argv[1]).main(sys.argv[2:]))
