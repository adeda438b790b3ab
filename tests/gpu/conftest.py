"""Where there is a GPU, or where a dry run on the CPU is asked for: `GPU_DRY_RUN=1 pytest tests/gpu`."""

import os

import pytest
import torch

DRY = os.environ.get("GPU_DRY_RUN") == "1"


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available() or DRY:
        return
    skip = pytest.mark.skip(reason="needs a GPU, and torch.cuda.is_available() says there is none")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def device():
    """`cuda`; in a dry run `cpu`, on which everything but the claims about the card holds as well."""
    return "cuda" if torch.cuda.is_available() else "cpu"
