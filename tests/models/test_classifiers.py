"""What every classifier must do: say how large its pictures are, which layers are its heads, and learn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from pixelwise.catalog import SYSTEMS, create_model, list_models
from pixelwise.models.classify.alexnet import AlexNet
from pixelwise.models.classify.densenet import DenseNet
from pixelwise.models.classify.googlenet import GoogLeNet
from pixelwise.models.classify.inception import InceptionV3
from pixelwise.models.classify.lenet import LeNet5
from pixelwise.models.classify.mlp import MLP
from pixelwise.models.classify.table import ENCODERS
from pixelwise.nn.encoder import Classifier

CLASSIFIERS = list_models("classify")
WITH_HEADS = {"googlenet": {"aux1", "aux2"}, "inception_v3": {"AuxLogits"}}


def on_meta(name: str, **options: object) -> Classifier:
    with torch.device("meta"):
        network = create_model(name, **{"num_classes": 5, **SYSTEMS[name].tiny, **options})
    assert isinstance(network, Classifier)
    return network.eval()


def takes(network: Classifier, height: int, width: int) -> bool:
    try:
        logits = network(torch.empty(2, 3, height, width, device="meta"), auxiliary=True)
    except RuntimeError:
        return False
    return all(each.shape == (2, 5) for each in logits)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_smallest_picture(name: str) -> None:
    network = on_meta(name)
    if network.window is not None:
        height, width = network.window
        assert network.smallest == min(height, width)
        assert takes(network, height, width)
        assert not any(takes(network, height + by, width + by) for by in (-8, -1, 8))
    else:
        side = network.smallest
        assert all(takes(network, *size) for size in ((side, side), (side, side + 37), (side + 5, side)))
        assert not takes(network, side - 1, side + 37)
        assert not takes(network, side + 37, side - 1)


def test_the_smallest_picture_for_an_auxiliary_head() -> None:
    inception = on_meta("inception_v3", auxiliary=True)
    assert inception.smallest == 299
    assert takes(inception, 299, 299)
    assert not takes(inception, 298, 400)
    googlenet = on_meta("googlenet", auxiliary=True)
    assert takes(googlenet, googlenet.smallest, googlenet.smallest)


@pytest.mark.parametrize(
    ("name", "auxiliary"), [*((name, False) for name in CLASSIFIERS), *((name, True) for name in WITH_HEADS)]
)
def test_heads_are_the_tensors_that_depend_on_the_number_of_classes(name: str, auxiliary: bool) -> None:
    options = {"auxiliary": True} if auxiliary else {}
    few, many = (on_meta(name, num_classes=classes, **options) for classes in (5, 7))
    before, after = few.state_dict(), many.state_dict()
    assert before.keys() == after.keys()
    depend = {key for key in before if before[key].shape != after[key].shape}
    assert depend == {key for key in before if any(key.startswith(f"{head}.") for head in few.heads)}


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name in ENCODERS])
def test_an_encoder_has_no_heads(name: str) -> None:
    encoder = on_meta(name, num_classes=0)
    names = [key for key, _ in encoder.named_modules()]
    assert not set(encoder.heads) & set(names)
    assert not any(isinstance(module, nn.Linear) for module in encoder.modules())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_auxiliary_heads_only_when_asked_for(name: str) -> None:
    plain = on_meta(name)
    assert plain.auxiliary_weights == ()
    size = plain.window or (max(plain.smallest, 32),) * 2
    assert len(plain(torch.empty(1, 3, *size, device="meta"), auxiliary=True)) == 1
    if name in WITH_HEADS:
        network = on_meta(name, auxiliary=True)
        assert len(network.auxiliary_weights) == len(WITH_HEADS[name])
        images = torch.empty(2, 3, 299, 299, device="meta")
        assert isinstance(network(images), torch.Tensor)
        assert len(network(images, auxiliary=True)) == 1 + len(WITH_HEADS[name])
        added = network.state_dict().keys() - plain.state_dict().keys()
        assert plain.state_dict().keys() < network.state_dict().keys()
        assert {key.split(".")[0] for key in added} == WITH_HEADS[name]


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (lambda: MLP(in_channels=3, num_classes=4, size=(8, 10), hidden=(16,)), (8, 10)),
        (lambda: LeNet5(in_channels=3, num_classes=4), (32, 32)),
        (lambda: AlexNet(num_classes=4, width=8, dropout=0.0), (64, 64)),
        (lambda: GoogLeNet(num_classes=4, width=8, auxiliary=True, dropout=0.0), (32, 32)),
        (lambda: InceptionV3(num_classes=4, width=4, dropout=0.0), (96, 96)),
        (lambda: DenseNet(num_classes=4, blocks=(2, 2, 2, 2), growth_rate=8), (32, 32)),
    ],
    ids=["mlp", "lenet5", "alexnet", "googlenet", "inception_v3", "densenet"],
)
def test_one_batch_is_learned_and_a_gradient_reaches_every_parameter(
    build: Callable[[], Classifier], size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    network = build().train()
    images, target = torch.randn(8, 3, *size), torch.arange(8) % 4
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for step in range(40):
        logits, *auxiliary = network(images, auxiliary=True)
        loss = first = nn.functional.cross_entropy(logits, target)
        for weight, each in zip(network.auxiliary_weights, auxiliary, strict=True):
            loss = loss + weight * nn.functional.cross_entropy(each, target)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            assert not [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        optimizer.step()
        losses.append(float(first.detach()))
    assert losses[-1] < 0.35 * losses[0]
