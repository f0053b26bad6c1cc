"""Methods that learn from labels and from pictures without them: what each of their steps may touch."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pixelwise import api
from pixelwise.catalog import METHODS
from pixelwise.data.loader import Batch
from pixelwise.data.pictures import write_png
from pixelwise.data.scenes import write_scenes
from pixelwise.data.targets import PixelTargets
from pixelwise.errors import UserError
from pixelwise.methods import fixmatch
from pixelwise.methods.k_plus_one import PictureGenerator
from pixelwise.methods.semi_supervised import SemiSupervised, TeacherStudent
from pixelwise.methods.supervised import Supervised
from pixelwise.training import session
from pixelwise.training.loaders import train_loaders
from pixelwise.training.progress import Silent
from pixelwise.training.recipes import load_recipe
from pixelwise.training.session import Session

NAMES = [name for name, method in METHODS.items() if issubclass(method, SemiSupervised)]
DENSE = [name for name in NAMES if name != "k_plus_one"]
TEACHERS = [name for name in NAMES if issubclass(METHODS[name], TeacherStudent)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few") / "scenes"
    write_scenes(folder, train=4, val=2, size=(32, 32))
    return folder


@pytest.fixture(scope="module")
def more(data: Path) -> Path:
    """Pictures whose masks cannot be read."""
    folder = data.parent / "more"
    write_scenes(folder, train=6, val=2, size=(32, 32), seed=7)
    for mask in folder.rglob("masks/*.png"):
        mask.write_bytes(b"not a picture")
    return folder


def begin(
    method: str,
    data: Path,
    more: Path | None,
    out: Path,
    options: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **train: Any,
) -> Session:
    values = {
        "model": {"name": "unet", **(model or {"encoder": None, "width": 4, "batch_norm": True})},
        "method": {"name": method, **(options or {})},
        "augment": {"crop": [32, 32]},
        "train": {"epochs": 2.0, "batch_size": 2, "validations": 1, "seed": 3, "precision": "float32", **train},
    }
    if method == "k_plus_one":
        raise AssertionError("for classes alone")
    out.mkdir(parents=True)
    (out / "r.yaml").write_text(json.dumps(values))
    given = {"data.path": str(data), **({} if more is None else {"data.unlabelled": str(more)})}
    return session.start(load_recipe(out / "r.yaml", given), name="r", out=str(out / "run"))


@pytest.mark.parametrize("name", DENSE)
def test_pixels_are_taught_and_masks_without_labels_are_not_read(
    name: str, data: Path, more: Path, tmp_path: Path
) -> None:
    began = begin(name, data, more, tmp_path / "a")
    before = {key: value.clone() for key, value in began.method.network.named_parameters()}
    session.execute(began, Silent())
    moved = [not torch.equal(value, before[key]) for key, value in began.method.network.named_parameters()]
    assert all(moved)


@pytest.mark.parametrize("name", DENSE)
def test_running_statistics_follow_labelled_pictures_alone(
    name: str, data: Path, more: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step changes the buffers to the bit as a supervised step with the same labelled batch does."""
    began = begin(name, data, more, tmp_path / "a")
    method = began.method
    assert isinstance(method, SemiSupervised)
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(type(method), "step", lambda self, batches, progress: calls.append(batches) or {"loss": 0.0})
    session.execute(began, Silent())
    monkeypatch.undo()
    batches = calls[0]
    method.optimised.train()
    state = {key: value.clone() for key, value in method.network.state_dict().items()}
    Supervised.step(method, batches, 0.5)
    expected = {key: value.clone() for key, value in method.network.named_buffers()}
    method.network.load_state_dict(state)
    SemiSupervised.step(method, batches, 0.5)
    changed = [not torch.equal(state[key], expected[key]) for key in expected]
    assert any(changed)
    assert all(torch.equal(value, expected[key]) for key, value in method.network.named_buffers())


@pytest.mark.parametrize("name", DENSE)
def test_a_run_can_begin_with_the_labels_alone(
    name: str, data: Path, more: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until `start`, no picture without labels passes through the network; the speed is measured with such pictures."""
    real, at = METHODS[name].unlabelled_terms, []

    def counted(self: Any, images: Tensor, names: Any, progress: float) -> dict[str, Tensor]:
        at.append(progress)
        return real(self, images, names, progress)

    monkeypatch.setattr(METHODS[name], "unlabelled_terms", counted)
    began = begin(name, data, more, tmp_path / "a", {"start": 0.5}, epochs=8.0)
    assert not at, "epochs time nothing"
    session.execute(began, Silent())
    assert at == [0.5 + step / 16 for step in range(8)], "16 steps of 2 pictures in 8 epochs of 4"
    at.clear()
    begin(name, data, more, tmp_path / "b", {"start": 0.5}, epochs=None, minutes=0.2)
    assert at
    assert set(at) == {0.5}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pseudo_labels", [0, 0.5, 1, 1]),
        ("fixmatch", [0, 0.5, 1, 1]),
        ("mean_teacher", [math.exp(-5), math.exp(-1.25), 1, 1]),
        ("vat", [1, 1, 1, 1]),  # its epsilon rises
    ],
)
def test_the_loss_without_labels_gains_weight_after_the_start(
    name: str, expected: list[float], data: Path, more: Path, tmp_path: Path
) -> None:
    method = begin(name, data, more, tmp_path / "a", {"start": 0.5, "ramp": 0.25, "weight": 2.0}).method
    assert isinstance(method, SemiSupervised)
    assert [method.weight(at) / 2 for at in (0.5, 0.625, 0.75, 1.0)] == pytest.approx(expected)
    assert [method.ramp_up(at) for at in (0.5, 0.625, 0.75, 1.0)] == [0, 0.5, 1, 1]


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_is_an_average_and_its_passes_leave_it_alone(
    name: str, data: Path, more: Path, tmp_path: Path
) -> None:
    began = begin(name, data, more, tmp_path / "a")
    method = began.method
    assert isinstance(method, TeacherStudent)
    teacher = method.optimised.average.network  # type: ignore[union-attr]
    state = {key: value.clone() for key, value in teacher.state_dict().items()}
    method.optimised.train()
    logits = method.taught(torch.randn(2, 3, 32, 32))
    assert not logits.requires_grad
    assert all(torch.equal(value, state[key]) for key, value in teacher.state_dict().items())
    assert not teacher.training
    with pytest.raises(UserError, match=f"the teacher of {name} is a moving average of the weights"):
        begin(name, data, more, tmp_path / "b", ema_decay=None)
    with pytest.raises(UserError, match=r"train\.swa_start switches off"):
        begin(name, data, more, tmp_path / "c", swa_start=0.5)


def test_fixmatch_trains_on_the_pasted_picture_with_the_pasted_labels(
    data: Path, more: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = begin("fixmatch", data, more, tmp_path / "a")
    method = began.method
    assert isinstance(method, fixmatch.FixMatch)
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 32, 32).contiguous()
    monkeypatch.setattr(fixmatch, "strongly_lit", lambda pictures: pictures)
    teacher = torch.nn.functional.one_hot(images[:, 0].long(), 11).permute(0, 3, 1, 2).float() * 50
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def loss(pictures: Tensor, labels: Tensor, confident: Tensor) -> Tensor:
        seen.append((pictures, labels, confident))
        return pictures.sum()

    monkeypatch.setattr(method, "pseudo_label_loss", loss)
    monkeypatch.setattr(method, "taught", lambda pictures: teacher)
    method.unlabelled_terms(images, ["a", "b", "c"], 0.5)
    ((shown, labels, confident),) = seen
    assert torch.equal(shown[:, 0].long(), labels)
    assert (labels != images[:, 0].long()).any(), "a box of another picture"
    assert confident.all()


@pytest.mark.parametrize("deep", [False, True])
def test_pseudo_labels_are_learned_as_labels_of_a_person_are(
    deep: bool, data: Path, more: Path, tmp_path: Path
) -> None:
    """With the terms and class weights of the recipe, at every level that predicts; all of it times the share that is
    confident, and no gradient from elsewhere."""
    encoder = {"encoder": "resnet18", "decoder_channels": [16, 8, 8, 8], "deep_supervision": True}
    model = encoder if deep else {}
    method = begin("fixmatch", data, more, tmp_path / "a", model=model).method
    assert isinstance(method, SemiSupervised)
    torch.manual_seed(0)
    images = torch.randn(2, 3, 32, 32)
    labels = torch.randint(0, 3, (2, 32, 32))
    confident = torch.zeros(2, 32, 32, dtype=torch.bool)
    confident[0, :16] = True
    method.optimised.train()
    state = {key: value.clone() for key, value in method.network.state_dict().items()}
    loss = method.pseudo_label_loss(images, labels, confident)
    assert all(torch.equal(value, state[key]) for key, value in method.network.state_dict().items())
    masks = labels.masked_fill(~confident, 255)
    picture = images * method.forward.std + method.forward.mean
    expected = Supervised.losses(method, method.network, Batch(picture, ("a", "b"), PixelTargets(masks)))
    assert ("auxiliary" in expected) == deep
    assert loss.item() == pytest.approx(0.25 * expected["loss"].item(), rel=1e-4)
    nothing = method.pseudo_label_loss(images, labels, torch.zeros_like(confident))
    assert nothing.item() == 0
    other = torch.where(confident, labels, 2 - labels)
    assert method.pseudo_label_loss(images, other, confident).item() == pytest.approx(loss.item())


def test_only_confident_classes_cost_and_all_are_counted(digits_folder: Path, tmp_path: Path) -> None:
    """FixMatch's equation 4, for classes: the sum of cross entropy over confident pictures, divided by all."""
    values = {"data.path": str(digits_folder), "data.labelled": 20, "method.name": "fixmatch",
              "train.precision": "float32"}  # fmt: skip
    began = session.start(load_recipe("mlp", values), name="r", out=str(tmp_path / "run"))
    method = began.method
    assert isinstance(method, SemiSupervised)
    size = (5, len(began.recipe.normalize.mean), *began.recipe.crop)
    images, labels = torch.randn(size), torch.tensor([0, 2, 1, 0, 2])
    confident = torch.tensor([True, False, True, False, True])
    each = torch.nn.functional.cross_entropy(method.network(images), labels, reduction="none")
    assert method.pseudo_label_loss(images, labels, confident).item() == pytest.approx(each[confident].sum().item() / 5)


def test_k_plus_one_is_for_classes(data: Path, more: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="k_plus_one trains classifiers of whole pictures, and unet is not one"):
        api.train("unet", data=data, unlabelled=more, epochs=1, out=tmp_path / "a", overrides={
            "method.name": "k_plus_one", "model.encoder": None, "model.width": 4,
        })  # fmt: skip


def test_the_noise_of_k_plus_one_is_on_every_picture_and_in_their_units(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for kind in ("a", "b"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(8):
            write_png(tmp_path / "data" / kind / f"{number}.png", random.integers(0, 256, (8, 8)).astype(np.uint8))
    seen: dict[float, list[torch.Tensor]] = {}
    for noise in (0.0, 0.5):
        recipe = load_recipe("k_plus_one", {
            "data.path": str(tmp_path / "data"), "model.size": 8, "model.hidden": [8], "method.noise": noise,
            "train.batch_size": 8, "train.epochs": 1,
        })  # fmt: skip
        began = session.start(recipe, name="r", out=str(tmp_path / f"run-{noise}"))
        inputs = seen[noise] = []
        began.method.network.register_forward_pre_hook(lambda _, given, inputs=inputs: inputs.append(given[0].float()))
        own = began.data
        loaders = train_loaders(began.recipe, own.dataset, own.cache, own.task, began.method)
        batches = {name: next(loader.batches()) for name, loader in loaders.items()}
        torch.manual_seed(0)
        began.method.step(batches, 0.5)
    plain, noised = seen[0.0], seen[0.5]
    assert len(plain) == len(noised) == 5  # real, generated and labelled pictures; features of real and generated ones
    for number in (0, 2, 3):  # generated pictures differ as such
        assert float((noised[number] - plain[number]).std()) == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(("channels", "size"), [(1, (8, 8)), (1, (28, 28)), (3, (40, 24))])
def test_generated_pictures_have_the_size_and_the_range_of_real_ones(channels: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    generator = PictureGenerator(channels, size, latent=5, width=4)
    real = torch.rand(6, channels, *size) * torch.arange(1.0, channels + 1).view(-1, 1, 1) - 0.5
    generator.take_range(real)
    generator.take_range(1000 * real)  # later batches change nothing
    made = generator(generator.noise(4))
    assert made.shape == (4, channels, *size)
    for channel in range(channels):
        assert made[:, channel].min() >= real[:, channel].min() - 1e-5
        assert made[:, channel].max() <= real[:, channel].max() + 1e-5


def test_unlabelled_pictures_that_the_data_has_too_are_noted(data: Path, tmp_path: Path) -> None:
    from pixelwise.data.formats import open_dataset

    shutil.copytree(data, tmp_path / "copy")
    notes = open_dataset(data, unlabelled=tmp_path / "copy").notes
    assert any("4 of the 6 pictures" in note and "also among the training pictures" in note for note in notes), notes
    assert any("2" in note and "held-out" in note for note in notes), notes
