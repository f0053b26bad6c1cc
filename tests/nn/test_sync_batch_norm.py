"""Batch norm over several processes computes what one process computes over the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pixelwise.nn.averaging import StochasticWeightAverage
from pixelwise.nn.sync_batch_norm import SyncBatchNorm1d, SyncBatchNorm2d, synchronised

PROGRAM = """
import sys
import torch, torch.distributed as dist
from safetensors.torch import save_file
sys.path.insert(0, sys.argv[1])
from test_sync_batch_norm import results
dist.init_process_group("gloo")
found = results(dist.get_rank(), dist.get_world_size())
if dist.get_rank() == 0:
    save_file(found, sys.argv[2])
dist.destroy_process_group()
"""


class Network(nn.Module):
    """A batch norm over maps and one over vectors."""

    heads = ("last",)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.maps = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.vectors = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5))
        self.last = nn.Linear(5, 2)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 2)."""
        return self.last(self.vectors(self.maps(images).mean((2, 3))))


def batches() -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(8, 3, 9, 11) * (1 + step) + step for step in range(3)]


def results(rank: int, processes: int) -> dict[str, Tensor]:
    """This process's share of three batches: statistics and logits of training, then statistics refreshed by SWA."""
    network = synchronised(Network()) if processes > 1 else Network()
    average = StochasticWeightAverage(network)
    shares = [batch[rank::processes] for batch in batches()]
    found = {"logits": torch.stack([network(share)[0] for share in shares]).detach()}  # of picture 0
    found |= {f"trained.{name}": value for name, value in network.named_buffers()}
    average.refresh(shares)
    return found | {f"refreshed.{name}": value for name, value in average.network.named_buffers()}


def test_two_processes_have_one_process_s_statistics(tmp_path: Path) -> None:
    program, out = tmp_path / "program.py", tmp_path / "found.safetensors"
    program.write_text(PROGRAM)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, str(Path(__file__).parent), str(out)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected, found = results(0, 1), load_file(out)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-5), name
    assert expected["refreshed.maps.1.num_batches_tracked"] == 3


@pytest.mark.parametrize("affine", [True, False])
def test_exchanged_modules_share_tensors_and_settings(affine: bool) -> None:
    network = Network()
    network.maps[1] = nn.BatchNorm2d(4, eps=1e-3, momentum=0.3, affine=affine).eval()
    before, drawn = network.state_dict(keep_vars=True), torch.get_rng_state()
    assert synchronised(network) is network
    assert torch.equal(torch.get_rng_state(), drawn), "what is drawn after it must not change"
    after = network.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert isinstance(network.maps[1], SyncBatchNorm2d)
    assert isinstance(network.vectors[1], SyncBatchNorm1d)
    assert (network.maps[1].eps, network.maps[1].momentum, network.maps[1].training) == (1e-3, 0.3, False)
    assert network.vectors[1].training
    assert network.heads == ("last",)


def test_a_batch_norm_with_two_names_is_exchanged_under_both() -> None:
    norm = nn.BatchNorm2d(4)
    network = nn.ModuleDict({"one": norm, "two": nn.Sequential(norm, norm)})
    synchronised(network)
    assert isinstance(network["one"], SyncBatchNorm2d)
    assert network["one"] is network["two"][0] is network["two"][1]
    assert isinstance(synchronised(norm), SyncBatchNorm2d)
