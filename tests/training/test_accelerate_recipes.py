"""accelerate takes each of the hardware recipes, and means by it what the recipe says; those that a CPU can run are run
by `test_documents.test_two_processes_equal_one`."""

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

RECIPES = sorted((Path(__file__).parents[2] / "recipes/accelerate").glob("*.yaml"))
EXPECTED = {
    "cpu": ("NO", 1, 1),
    "single_gpu": ("NO", 1, 1),
    "ddp": ("MULTI_GPU", 2, 1),
    "fsdp": ("FSDP", 2, 1),
    "multi_node": ("MULTI_GPU", 8, 2),
}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_accelerate_reads_it(path):
    config = load_config_from_file(str(path))
    assert (config.distributed_type.value, config.num_processes, config.num_machines) == EXPECTED[path.stem]
    assert config.use_cpu == (path.stem == "cpu")
    # Every key is one that the launcher knows: it puts them beside its own options.
    words = [f"--config_file={path}", "script.py"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert args.num_processes == config.num_processes
    assert args.multi_gpu == (config.distributed_type.value == "MULTI_GPU")
    assert args.use_fsdp == (path.stem == "fsdp")
    if path.stem == "fsdp":
        assert args.fsdp_transformer_layer_cls_to_wrap == "BertLayer"
        known = vars(launch_command_parser().parse_args(["script.py"]))
        assert set(yaml.safe_load(path.read_text(encoding="utf-8"))["fsdp_config"]) <= set(known)


def test_every_hardware_has_its_recipe():
    assert {path.stem for path in RECIPES} == set(EXPECTED)
