"""The methods of pix2pix and CycleGAN: losses by hand, who learns when, the pool, and what is saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pair_files import write_pairs
from pixelwise import api
from pixelwise.errors import UserError
from pixelwise.methods.image_pool import ImagePool
from pixelwise.recipe.schedules import make_schedule
from pixelwise.training import session
from pixelwise.training.progress import Silent
from pixelwise.training.recipes import load_recipe

TINY = {
    "pix2pix": {"model": {"name": "pix2pix", "depth": 3, "width": 4}},
    "cyclegan": {"model": {"name": "cyclegan", "blocks": 1, "width": 4}},
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder, "pairs")
    return folder


def begun(name: str, data: Path, out: Path, **values: Any) -> session.Session:
    train = {"epochs": 1, "validations": 1, "ema_decay": None, **values.pop("train", {})}
    recipe = {**TINY[name], "train": train}
    out.mkdir()
    (out / "r.yaml").write_text(json.dumps({**recipe, **values}))
    return session.start(load_recipe(out / "r.yaml", {"data.path": str(data)}), name="r", out=str(out / "run"))


def batches(started: session.Session) -> dict[str, Any]:
    from pixelwise.training.loaders import train_loaders

    loaders = train_loaders(started.recipe, started.data.dataset, started.data.cache, started.task, started.method)
    found = {}
    for name, loader in loaders.items():
        stream = loader.batches()
        found[name] = next(stream)
        stream.close()
    return found


def strengthened(network: Any) -> Any:
    """The network with weights so large that no two of its outputs are alike."""
    for parameter in network.parameters():
        parameter.data *= 6 if parameter.dim() > 1 else 1
    return network


def test_the_losses_of_pix2pix_by_hand(pairs: Path, tmp_path: Path) -> None:
    options = {**TINY["pix2pix"]["model"], "dropout": 0.0}
    started = begun("pix2pix", pairs, tmp_path / "a", model=options, train={"precision": "float32"})
    method, drawn = started.method, batches(started)
    network = strengthened(method.network)
    batch = drawn["labelled"]
    given = batch.images.float() / 127.5 - 1
    wanted = batch.targets.pictures.float() / 127.5 - 1
    with torch.no_grad():
        made = network.generator(given)
        real, fake = (network.discriminator(torch.cat([given, one], 1)) for one in (wanted, made))
        judged = 0.5 * (
            F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
            + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        )
    found = method.step(drawn, 0.0)
    assert found["discriminator_loss"] == pytest.approx(float(judged), rel=1e-4)
    assert found["l1"] == pytest.approx(float((made - wanted).abs().mean()), rel=1e-4)
    assert found["loss"] == pytest.approx(found["adversarial"] + 100 * found["l1"], rel=1e-5)


def test_the_losses_of_cyclegan_by_hand(pairs: Path, tmp_path: Path) -> None:
    started = begun("cyclegan", pairs, tmp_path / "a", train={"precision": "float32"})
    method, drawn = started.method, batches(started)
    network = strengthened(method.network)
    a = drawn["labelled"].images.float() / 127.5 - 1
    b = drawn["b"].targets.pictures.float() / 127.5 - 1
    with torch.no_grad():
        as_b, as_a = network.generator_a(a), network.generator_b(b)
        adversarial = (network.discriminator_a(as_b) - 1).square().mean() + (
            network.discriminator_b(as_a) - 1
        ).square().mean()
        cycle = (network.generator_b(as_b) - a).abs().mean() + (network.generator_a(as_a) - b).abs().mean()
        identity = (network.generator_a(b) - b).abs().mean() + (network.generator_b(a) - a).abs().mean()
        judged = 0.5 * (
            (network.discriminator_a(b) - 1).square().mean()
            + network.discriminator_a(as_b).square().mean()
            + (network.discriminator_b(a) - 1).square().mean()
            + network.discriminator_b(as_a).square().mean()
        )
    found = method.step(drawn, 0.0)
    for name, value in (("adversarial", adversarial), ("cycle", cycle), ("identity", identity)):
        assert found[name] == pytest.approx(float(value), rel=1e-4), name
    assert found["discriminator_loss"] == pytest.approx(float(judged), rel=1e-4)  # the pool is still empty
    total = found["adversarial"] + 10 * found["cycle"] + 5 * found["identity"]
    assert found["loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_each_player_updates_its_own_networks_alone(name: str, pairs: Path, tmp_path: Path) -> None:
    started = begun(name, pairs, tmp_path / "a")
    method: Any = started.method
    changed: list[set[str]] = []
    for player in method.players.values():
        original = player.step

        def step(*arguments: Any, original: Any = original) -> Any:
            before = {key: value.detach().clone() for key, value in method.network.named_parameters()}
            done = original(*arguments)
            moved = (key for key, value in method.network.named_parameters() if not torch.equal(value, before[key]))
            changed.append({key.split(".")[0] for key in moved})
            return done

        player.step = step
    method.step(batches(started), 0.0)
    judges, makers = (
        ({"discriminator"}, {"generator"})
        if name == "pix2pix"
        else ({"discriminator_a", "discriminator_b"}, {"generator_a", "generator_b"})
    )
    assert changed == ([judges, makers] if name == "pix2pix" else [makers, judges])
    assert all(parameter.requires_grad for parameter in method.network.parameters())


def test_the_second_stream_has_an_order_of_its_own(pairs: Path, tmp_path: Path) -> None:
    started = begun("cyclegan", pairs, tmp_path / "a", train={"batch_size": 6})
    drawn = batches(started)
    assert set(drawn["labelled"].names) == set(drawn["b"].names)
    assert drawn["labelled"].names != drawn["b"].names
    assert drawn["labelled"].targets is None


def test_crops_of_the_two_kinds_are_drawn_apart(tmp_path: Path) -> None:
    """Even if both pictures of a sample are the same."""
    write_pairs(tmp_path / "pairs", "pairs")
    for file in (tmp_path / "pairs").glob("*/a/*.png"):
        (file.parents[1] / "b" / file.name).write_bytes(file.read_bytes())
    for name, apart in (("cyclegan", True), ("pix2pix", False)):
        augment = {"crop": [20, 20]}
        started = begun(name, tmp_path / "pairs", tmp_path / name, train={"batch_size": 6}, augment=augment)
        transform = started.task.training_transform(started.recipe)
        records = started.data.dataset.split("train")
        drawn = [transform(started.data.cache.load(each), np.random.default_rng(0)) for each in records]
        assert all(each.image.shape == each.partner.shape == (20, 20, 3) for each in drawn)  # type: ignore[union-attr]
        assert any(not np.array_equal(each.image, each.partner) for each in drawn) == apart


def test_the_pool_shows_earlier_pictures_half_of_the_time_once_it_is_full() -> None:
    torch.manual_seed(0)
    pool = ImagePool(5)
    numbered = torch.arange(2000.0)[:, None, None, None]
    first = pool.shown(numbered[:5])
    assert torch.equal(first, numbered[:5])
    later = pool.shown(numbered[5:])
    fresh = (later == numbered[5:]).float().mean()
    assert 0.45 < float(fresh) < 0.55
    assert bool((later <= numbered[5:]).all())
    assert len(pool) == 5
    # An earlier picture that was shown has left the pool, so no picture is shown twice.
    shown = torch.cat([first, later[later != numbered[5:]].view(-1, 1, 1, 1)]).flatten()[5:]
    assert len(shown.unique()) == len(shown)


def test_a_pool_of_nothing_shows_what_comes_and_a_restored_one_goes_on() -> None:
    pictures = torch.randn(8, 2, 3, 3, requires_grad=True)
    assert torch.equal(ImagePool(0).shown(pictures), pictures.detach())
    pool = ImagePool(4)
    pool.shown(pictures)
    other = ImagePool(4)
    other.load_state_dict(pool.state_dict(), torch.device("cpu"))
    torch.manual_seed(3)
    one = pool.shown(pictures)
    torch.manual_seed(3)
    assert torch.equal(one, other.shown(pictures))
    assert not one.requires_grad


def test_the_rate_is_constant_and_then_falls_to_zero() -> None:
    schedule = make_schedule("late_linear")
    assert [schedule(p) for p in (0, 0.3, 0.5, 0.75, 1)] == pytest.approx([1, 1, 1, 0.5, 0])


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_the_averaged_generators_ship_with_the_discriminators_of_the_last_step(
    name: str, pairs: Path, tmp_path: Path
) -> None:
    started = begun(name, pairs, tmp_path / "a", train={"ema_decay": 0.5})
    session.execute(started, Silent())
    taught: Any = started.method.network
    shipped: Any = started.method.shipped()
    for part, module in taught.named_children():
        assert (shipped.get_submodule(part) is module) == part.startswith("discriminator")
    assert shipped.state_dict().keys() == taught.state_dict().keys()


def test_the_checkpoint_holds_both_optimisers_and_the_pools(pairs: Path, tmp_path: Path) -> None:
    started = begun("cyclegan", pairs, tmp_path / "a")
    started.method.step(batches(started), 0.3)
    state = started.method.state_dict()
    assert state.keys() == {"generator", "discriminator", "pools"}
    assert all(state[player]["optimizer"]["state"] for player in ("generator", "discriminator"))
    assert {name: len(pool["pictures"]) for name, pool in state["pools"].items()} == {"a": 1, "b": 1}


def test_methods_refuse_other_networks_and_identity_of_other_channels(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"conditional trains a generator and a discriminator on pairs .*cyclegan"):
        api.train("cyclegan", data=pairs, out=tmp_path / "a", overrides={"method.name": "conditional"})
    write_pairs(tmp_path / "deep", "pairs", deep=True)
    for file in (tmp_path / "deep").glob("*/b/*.png"):
        file.write_bytes((pairs / file.relative_to(tmp_path / "deep")).read_bytes())
    with pytest.raises(UserError, match=r"method\.identity: pictures have 1 and 3 channels"):
        begun("cyclegan", tmp_path / "deep", tmp_path / "b", method={"identity": 0.5})
    assert begun("cyclegan", tmp_path / "deep", tmp_path / "c").recipe.method.options["identity"] == 0
    write_pairs(tmp_path / "kinds", "unpaired")
    with pytest.raises(UserError, match="learns from pairs of pictures"):
        api.train("pix2pix", data=tmp_path / "kinds", out=tmp_path / "d")
