"""What `pixelwise explain` shows of poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pixelwise.catalog import create_model
from pixelwise.data.joints import LSP
from pixelwise.data.pictures import PictureFormat, write_png
from pixelwise.errors import UserError
from pixelwise.explain import explain
from pixelwise.explain.cam import grad_cam
from pixelwise.models.spec import ModelSpec, save_model
from pixelwise.tasks.pose.insight import PoseInsight

OPTIONS = {"num_joints": 14, "in_channels": 3, "stacks": 2, "features": 16, "depth": 2}


@pytest.fixture
def spec() -> ModelSpec:
    joints = {"names": list(LSP.names), "skeleton": [list(bone) for bone in LSP.skeleton]}
    return ModelSpec(
        "hourglass_pose", OPTIONS, (), PictureFormat(3, "uint8"), (100.0,) * 3, (50.0,) * 3,
        notes={"joints": joints}, input_size=(64, 64), task="pose",
    )  # fmt: skip


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return create_model("hourglass_pose", **OPTIONS).eval()


def test_every_joint_has_a_heatmap_per_stack_and_a_name(network: nn.Module, spec: ModelSpec) -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    with torch.no_grad():
        findings = PoseInsight(network, spec).examine(image, torch.randn(1, 3, 64, 64), [])
    skeleton, first, second = findings.groups
    assert [panel.label for panel in skeleton.panels] == ["Stack 1", "Stack 2"]
    for group in (first, second):
        assert [panel.label.rsplit(" ", 1)[0] for panel in group.panels] == [n.replace("_", " ") for n in LSP.names]
    shares = [share for _, share in findings.predictions]
    assert shares == sorted(shares, reverse=True)
    assert len(findings.reasons) == 2, "the surest joint and the one that is least sure"


def test_the_reason_is_the_height_of_the_peak(network: nn.Module, spec: ModelSpec) -> None:
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        findings = PoseInsight(network, spec).examine(np.zeros((64, 64, 3), np.uint8), images, [5])
        heatmap = network(images)[-1][0, 5]
    (reason,) = findings.reasons
    assert reason.title == "Why is the left ankle there?"
    answer: Tensor = reason.network(images)
    torch.testing.assert_close(reason.score(answer)[0], heatmap.max())
    assert reason.layer is not None
    cam = grad_cam(reason.network, images, reason.score, layer=reason.layer)
    assert reason.lay(cam).shape == (1, 64, 64)


def test_the_page_of_a_model(network: nn.Module, spec: ModelSpec, tmp_path: Path) -> None:
    save_model(tmp_path / "best.safetensors", network.state_dict(), spec)
    write_png(tmp_path / "tall.png", np.random.default_rng(0).integers(0, 255, (90, 40, 3)).astype(np.uint8))
    page = explain(
        tmp_path / "best.safetensors", tmp_path / "tall.png", out=tmp_path / "p.html", classes=["left_knee"], quick=True
    )
    text = page.read_text()
    assert "Why is the left knee there?" in text
    assert "Heatmaps of stack 2" in text
    assert "14, joints of the person" in text
    with pytest.raises(UserError, match="did you mean 'left_knee'"):
        explain(tmp_path / "best.safetensors", tmp_path / "tall.png", out=tmp_path / "q.html", classes=["left_kne"])


@pytest.mark.parametrize("encoder", [None, "mobilenet_v2"])
def test_the_layer_of_a_reason_is_the_input_of_the_first_hourglass(encoder: str | None, spec: ModelSpec) -> None:
    torch.manual_seed(0)
    network = create_model("hourglass_pose", **OPTIONS, encoder=encoder).eval()
    seen: list[Tensor] = []
    network.stacks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network.get_submodule(network.before_stacks).register_forward_hook(lambda _, given, result: seen.append(result))
    with torch.no_grad():
        findings = PoseInsight(network, spec).examine(np.zeros((64, 64, 3), np.uint8), torch.randn(1, 3, 64, 64), [5])
    assert findings.reasons[0].layer == network.before_stacks
    assert torch.equal(seen[0], seen[1])
