"""Two processes give the losses and weights of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pixelwise.catalog import SYSTEMS
from pixelwise.data.digits import write_digits
from pixelwise.data.pair_scenes import write_pair_scenes
from pixelwise.distributed import average_gradients

SETTINGS = {
    "model.width": "4",
    "model.encoder": "null",
    "train.batch_size": "4",
    "train.precision": "float32",
    "train.validations": "2",
    "augment.crop": "[32, 48]",
    # Steps in proportion to the gradient: Adam's would make a whole step of what is rounding around zero.
    "optimizer.name": "sgd",
    "optimizer.lr": "0.01",
}
COMMON = ["--epochs", "5", *(part for pair in SETTINGS.items() for part in ("--set", "=".join(pair)))]


def run(launcher: list[str], data: Path, out: Path) -> None:
    command = [sys.executable, *launcher, "-m", "pixelwise", "train", "unet", "--data", str(data), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *COMMON], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


AVERAGED = """
import sys
import torch, torch.distributed as dist
from safetensors.torch import save_file
from pixelwise.distributed import average_gradients
dist.init_process_group("gloo")
rank = dist.get_rank()
parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (4,), (5,))]
for number, parameter in enumerate(parameters[:2]):
    parameter.grad = torch.arange(parameter.numel()).view_as(parameter) + 10.0 * number + 100.0 * rank
parameters[0].grad = parameters[0].grad.t().contiguous().t()  # as channels-last weights have it
average_gradients(parameters)
assert parameters[2].grad is None
save_file({str(n): parameters[n].grad.contiguous() for n in range(2)}, f"{sys.argv[1]}/{rank}.safetensors")
dist.destroy_process_group()
"""
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def test_gradients_are_averaged_over_processes(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(AVERAGED)
    command = [sys.executable, *TWO, str(tmp_path / "program.py"), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in range(2):
        found = load_file(tmp_path / f"{rank}.safetensors")
        for number, shape in enumerate(((2, 3), (4,))):
            expected = torch.arange(torch.Size(shape).numel()).view(shape) + 10.0 * number + 50.0
            assert torch.equal(found[str(number)], expected)


LEFT = """
import sys
from pixelwise import distributed
import torch.distributed as dist
dist.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=0, world_size=1)
group = dist.group.WORLD
distributed.leave_at_exit()
import torch._dynamo  # as the first step of an optimiser does
distributed._leave()
print(sys.getrefcount(group))
"""


def test_nothing_keeps_a_group_that_was_left(tmp_path: Path) -> None:
    """Its threads end with the last reference; when the interpreter ends first, they abort the process now and then."""
    done = subprocess.run(
        [sys.executable, "-c", LEFT, str(tmp_path / "store")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "2"  # the program's name for it, and the argument of getrefcount


def test_one_process_leaves_its_gradients_alone() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = gradient = torch.ones(3)
    average_gradients([parameter])
    assert parameter.grad is gradient
    assert gradient.tolist() == [1, 1, 1]


ALIKE = """
import sys
import torch
from pathlib import Path
from safetensors.torch import save_file
from pixelwise.distributed import rank
from pixelwise.training import session
from pixelwise.training.progress import Silent
from pixelwise.training.recipes import load_recipe
recipe, data, out = sys.argv[1:]
began = session.start(load_recipe(Path(recipe), {"data.path": data}), name="r", out=out)
session.execute(began, Silent())
state = {name: value.contiguous() for name, value in began.method.network.state_dict().items()}
save_file(state, f"{Path(recipe).parent}/{rank()}.safetensors")
"""


@pytest.mark.parametrize("method", ["adversarial", "vat", "conditional", "cycle"])
def test_processes_hold_the_same_weights(method: str, tmp_path: Path) -> None:
    """Each draws its own noise, but averages the gradients of every network with the others."""
    network = {"adversarial": "dcgan", "vat": "mlp", "conditional": "pix2pix", "cycle": "cyclegan"}[method]
    if SYSTEMS[network].task.name == "translate":
        write_pair_scenes(tmp_path / "data", train=30, val=4, size=(32, 32))
    else:
        write_digits(tmp_path / "data", train=6, val=4)
    tiny = {key: value for key, value in SYSTEMS[network].tiny.items() if key not in {"in_channels", "size"}}
    recipe = {
        "model": {"name": network, **tiny},
        "method": {"name": method},
        "train": {"epochs": 1, "batch_size": 10, "validations": 2, "precision": "float32"},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    (tmp_path / "program.py").write_text(ALIKE)
    arguments = [str(tmp_path / name) for name in ("program.py", "recipe.yaml", "data", "run")]
    done = subprocess.run(
        [sys.executable, *TWO, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_two_processes_give_one_process_its_losses(scenes_folder: Path, tmp_path: Path) -> None:
    run([], scenes_folder, tmp_path / "one")
    run(TWO, scenes_folder, tmp_path / "two")

    def logged(name: str, kind: str) -> list[dict[str, float]]:
        entries = map(json.loads, (tmp_path / name / "log.jsonl").read_text().splitlines())
        return [entry for entry in entries if entry["kind"] == kind]

    # The first step, and the mean over the nine after it, in which rounding has grown.
    for alone, together, tolerance in zip(logged("one", "train"), logged("two", "train"), (1e-5, 1e-2), strict=True):
        for name in ("loss", "cross_entropy", "dice", "gradient_norm"):
            assert together[name] == pytest.approx(alone[name], rel=tolerance), name
    assert [entry["step"] for entry in logged("two", "validation")] == [5, 10]
    for first, second in zip(logged("one", "validation"), logged("two", "validation"), strict=True):
        assert second["mean_iou"] == pytest.approx(first["mean_iou"], abs=5e-3)
    one, two = (load_file(tmp_path / name / "best.safetensors") for name in ("one", "two"))
    for name, value in one.items():
        assert torch.allclose(value.float(), two[name].float(), rtol=1e-2, atol=2e-3), name
    metrics = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two")]
    assert metrics[0]["pixels"] == metrics[1]["pixels"]
