"""Runs start from published weights by default: what is taken, recorded, repeated, and steered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from safetensors.torch import save_file

from pixelwise import api
from pixelwise.catalog import create_model
from pixelwise.data.pictures import write_png
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.errors import UserError
from pixelwise.models.encoders import create_encoder
from pixelwise.models.published import Search
from pixelwise.models.weights import adapt_channels
from pixelwise.training import parts, pretrained, session
from pixelwise.training.recipes import load_recipe
from pixelwise.training.session import Session

SMALL = {"augment.crop": [32, 48], "train.batch_size": 2, "train.epochs": 1, "train.validations": 1}
UNET = {**SMALL, "model.encoder": "mobilenet_v2", "model.decoder_channels": [8, 8, 8, 8]}


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MobileNetV2's weights in `$PIXELWISE_WEIGHTS`, under a name by which nobody knows them."""
    path = tmp_path / "weights" / "mine.pth"
    path.parent.mkdir()
    torch.save({name: value + 1 for name, value in create_model("mobilenet_v2").state_dict().items()}, path)
    monkeypatch.setenv("PIXELWISE_WEIGHTS", str(path.parent))
    return path


def started(data: Path, out: Path, *, recipe: str = "unet", **overrides: Any) -> Session:
    settings = {"data.path": str(data), **UNET, **{key.replace("__", "."): value for key, value in overrides.items()}}
    return session.start(load_recipe(recipe, settings), name=recipe, out=str(out))


def same_encoder(network: Any, path: Path) -> bool:
    published = torch.load(path)
    return all(torch.equal(value, published[name]) for name, value in network.encoder.state_dict().items())


def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(classifier: str) -> Search:
        raise AssertionError(f"weights of {classifier} were searched for")

    monkeypatch.setattr(pretrained, "search", refuse)


def test_what_was_taken_is_used_recorded_and_told(published: Path, scenes_folder: Path, tmp_path: Path) -> None:
    begun = started(scenes_folder, tmp_path / "run")
    assert same_encoder(begun.method.network, published)
    assert begun.weights == "weights: mine.pth (licence unknown), from $PIXELWISE_WEIGHTS"
    recipe = begun.run.planned
    assert recipe.model.options["weights"] == str(published)
    assert recipe.optimizer.encoder_lr_factor == 0.3
    assert recipe.normalize.mean == (123.675, 116.28, 103.53)
    taken = recipe.provenance["weights"]
    assert taken == {**pretrained.origin(published), "file": "mine.pth", "licence": None}
    assert len(taken["sha256"]) == 16
    assert "# published weights of mobilenet_v2" in begun.run.recipe_file.read_text()


def test_the_licence_of_known_weights_is_told(published: Path, scenes_folder: Path, tmp_path: Path) -> None:
    published.rename(published.with_name("mobilenet_v2-final.pth"))
    path = published.with_name("mobilenetv2_100.ra_in1k.safetensors")
    save_file(create_encoder("mobilenet_v2").state_dict(), path)
    begun = started(scenes_folder, tmp_path / "run")
    assert begun.weights == f"weights: {path.name} (Apache-2.0, ImageNet), from $PIXELWISE_WEIGHTS"
    assert begun.recipe.provenance["weights"]["name"] == "timm/mobilenetv2_100.ra_in1k"
    assert begun.recipe.provenance["weights"]["licence"] == "Apache-2.0"


def test_the_hubs_cache_gives_the_hubs_name(
    published: Path, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIXELWISE_WEIGHTS")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repo, file: str(published))
    begun = started(scenes_folder, tmp_path / "run")
    assert same_encoder(begun.method.network, published)
    name = "timm/mobilenetv2_100.ra_in1k"
    assert begun.recipe.model.options["weights"] == begun.recipe.provenance["weights"]["name"] == name
    assert begun.weights == f"weights: {name} (Apache-2.0, ImageNet), from the hub's cache"


@pytest.mark.parametrize("none", ["none", None])
def test_none_stands_for_random_weights(
    none: str | None, published: Path, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_search(monkeypatch)
    begun = started(scenes_folder, tmp_path / "run", model__weights=none)
    assert not same_encoder(begun.method.network, published)
    assert begun.weights == ""
    assert begun.run.planned.model.options["weights"] is None
    assert begun.run.planned.provenance["weights"] is None
    assert begun.recipe.optimizer.encoder_lr_factor == 1.0


def test_where_nothing_is_found_a_run_is_what_random_weights_make_it(
    scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = started(scenes_folder, tmp_path / "default")
    assert default.weights.startswith("weights: random, since no published weights of mobilenet_v2 were found")
    assert "PIXELWISE_WEIGHTS" in default.weights
    no_search(monkeypatch)
    random = started(scenes_folder, tmp_path / "random", model__weights="none")
    assert default.recipe.model_dump(exclude={"provenance"}) == random.recipe.model_dump(exclude={"provenance"})
    ours, theirs = (each.method.network.state_dict() for each in (default, random))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_networks_without_published_weights_are_as_before(
    scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_search(monkeypatch)
    recipe = load_recipe("hourglass", {"data.path": str(scenes_folder), "model.width": 8, "train.epochs": 1})
    begun = session.start(recipe, name="hourglass", out=str(tmp_path / "run"))
    assert "weights" not in begun.run.planned.model.options
    assert begun.weights == ""


def test_a_damaged_file_in_the_folder_stops_the_run(published: Path, scenes_folder: Path, tmp_path: Path) -> None:
    published.write_bytes(published.read_bytes()[:-5000])
    with pytest.raises(UserError, match=r"mine\.pth: not a file of tensors"):
        started(scenes_folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_repetition_takes_exactly_that_file(
    published: Path, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = started(scenes_folder, tmp_path / "run").run
    monkeypatch.delenv("PIXELWISE_WEIGHTS")
    no_search(monkeypatch)

    def again(out: str, **overrides: Any) -> Session:
        return session.start(load_recipe(first.recipe_file, overrides), name="again", out=str(tmp_path / out))

    assert same_encoder(again("again").method.network, published)
    torch.save(create_encoder("mobilenet_v2").state_dict(), published)
    with pytest.raises(UserError, match=r"mine\.pth: its SHA-256 digest begins with .* provenance\.weights=null"):
        again("other")
    assert same_encoder(again("other", **{"provenance.weights": None}).method.network, published)


def test_a_run_without_a_checkpoint_is_resumed_from_exactly_that_file(
    published: Path, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(scenes_folder, tmp_path / "run").run
    monkeypatch.delenv("PIXELWISE_WEIGHTS")
    no_search(monkeypatch)
    assert same_encoder(session.restart(run).method.network, published)
    torch.save(create_encoder("mobilenet_v2").state_dict(), published)
    with pytest.raises(UserError, match=r"the run began with .* start a new run"):
        session.restart(run)


def test_what_runs_wrote_before_stays_random(
    published: Path, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recipe of a run that knew of no default names no weights, and has none."""
    values = yaml.safe_load(started(scenes_folder, tmp_path / "run").run.recipe_file.read_text())
    del values["model"]["weights"], values["provenance"]["weights"]
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(values))
    no_search(monkeypatch)
    begun = session.start(load_recipe(tmp_path / "old.yaml"), name="old", out=str(tmp_path / "again"))
    assert not same_encoder(begun.method.network, published)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The classifiers whose weights are searched for, from here on."""
    names: list[str] = []
    search = pretrained.search

    def counting(classifier: str) -> Search:
        names.append(classifier)
        return search(classifier)

    monkeypatch.setattr(pretrained, "search", counting)
    return names


def test_variants_share_one_search(
    published: Path, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = counted(monkeypatch)
    values = {
        "model": {"name": "unet", "encoder": "mobilenet_v2", "decoder_channels": [8, 8, 8, 8]},
        "augment": {"crop": [32, 48]},
        "train": {"epochs": 1, "batch_size": 2},
        "variants": {
            "same": {},
            "slow": {"set": {"optimizer.lr": 1e-4, "model.weights": "auto"}},
            "random": {"set": {"model.weights": "none"}},
            "other": {"set": {"model.encoder": "resnet18"}},
            "without": {"set": {"model.encoder": None, "model.width": 4}},
        },
    }
    (tmp_path / "compared.yaml").write_text(yaml.safe_dump(values))
    recipe = load_recipe(tmp_path / "compared.yaml", {"data.path": str(scenes_folder)})
    run, _, notes = parts.begin(recipe, name="compared", out=str(tmp_path / "run"))
    assert names == ["mobilenet_v2", "resnet18"]
    assert len(notes) == 1
    assert "resnet18" in notes[0]
    variants = parts.variant_recipes(load_recipe(run.variants_file))
    found = {name: each.model.options["weights"] for name, each in variants.items()}
    assert found == {"same": str(published), "slow": str(published), "random": None, "other": None, "without": None}


def test_stages_start_from_one_file(
    published: Path, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = counted(monkeypatch)
    overrides = {
        **UNET,
        "stages": [{"set": {"optimizer.freeze": ["encoder"]}}, {"about": "all"}],
        "train.ema_decay": None,
    }
    run = api.train("unet", data=scenes_folder, out=tmp_path / "run", overrides=overrides)
    assert names == ["mobilenet_v2"]
    assert load_recipe(run.stages_file).model.options["weights"] == str(published)
    assert run.stage(1).planned.provenance["weights"] == pretrained.origin(published)
    assert run.planned.model.options["weights"] == str(run.stage(1).path.resolve())


@pytest.mark.parametrize("first", [True, False])
def test_all_processes_take_what_the_first_one_found(first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Search("the first one's", ())
    no_search(monkeypatch)
    if first:
        monkeypatch.setattr(pretrained, "search", lambda classifier: found)
    monkeypatch.setattr(pretrained, "rank", lambda: int(not first))
    monkeypatch.setattr(pretrained, "gathered", lambda mine: [mine or found, None])
    assert pretrained._search_once("resnet18") is found
    monkeypatch.setattr(pretrained, "gathered", lambda mine: ["broken file", None])
    with pytest.raises(UserError, match="broken file"):
        pretrained._search_once("resnet18")


def test_pictures_that_are_not_rgb_train_from_adapted_weights(published: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = {"grey": ((48, 64), "uint8"), "deep": ((48, 64), "uint16"), "four": ((48, 64, 4), "uint8")}
    weight = torch.load(published)["features.0.0.weight"]
    for kind, (shape, dtype) in kinds.items():
        data = tmp_path / kind
        for number in range(4):
            mask = (rng.random((48, 64)) < 0.5).astype("uint8")
            (data / "images").mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(
                data / "images" / f"{number}.tif",
                rng.integers(0, np.iinfo(dtype).max, shape).astype(dtype),
                **({"planarconfig": "contig", "photometric": "minisblack"} if len(shape) == 3 else {}),
            )
            write_png(data / "masks" / f"{number}.png", mask)
        (data / "classes.txt").write_text("nothing\nsomething\n")
        begun = started(data, tmp_path / f"{kind}-run", augment__flip="none")
        channels = shape[2] if len(shape) == 3 else 1
        assert torch.equal(
            begun.method.network.state_dict()["encoder.features.0.0.weight"], adapt_channels(weight, channels)
        )
        run = api.train("unet", data=data, out=tmp_path / f"{kind}-trained", overrides=UNET)
        assert run.finished
        if kind == "deep":
            assert run.planned.normalize.mean == pytest.approx((257 * (123.675 + 116.28 + 103.53) / 3,), rel=1e-5)


@pytest.mark.parametrize(
    ("recipe", "data", "overrides"),
    [
        ("mobilenet_v2", "digits", {}),
        ("cut", "digits", {"model.network": "mobilenet_v2", "model.layer": "features.6", "model.head": []}),
        ("mobilenet_v2", "digits", {"method.name": "vat", "data.unlabelled": "digits"}),
        ("localizer", "coco", {"model.encoder": "mobilenet_v2", "model.hidden": [8, 4], "model.pool": 2}),
        ("deeplab_v3", "scenes", {"model.width": 16}),
    ],
)
def test_every_task_and_method_trains_from_them(
    recipe: str,
    data: str,
    overrides: dict[str, Any],
    published: Path,
    scenes_folder: Path,
    digits_folder: Path,
    tmp_path: Path,
) -> None:
    write_coco_scenes(tmp_path / "coco", train=4, val=2, size=(64, 96), digits=(1, 2))
    folders = {"scenes": scenes_folder, "digits": digits_folder, "coco": tmp_path / "coco"}
    if "data.unlabelled" in overrides:
        overrides = {**overrides, "data.unlabelled": str(folders[overrides["data.unlabelled"]])}
    settings = {**SMALL, "augment.crop": [32, 32], "train.batch_size": 8, "train.epochs": 0.5, **overrides}
    run = api.train(recipe, data=folders[data], out=tmp_path / "run", overrides=settings)
    first = run.stage(1) if run.stages_file.exists() else run
    assert first.planned.model.options["weights"] == str(published)


def test_prediction_and_evaluation_look_for_no_weights(
    published: Path, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = api.train("unet", data=scenes_folder, out=tmp_path / "run", overrides=UNET)
    published.unlink()
    no_search(monkeypatch)
    assert 0 <= api.evaluate(run.path)["mean_iou"] <= 1
    assert len(api.predict(run.path, scenes_folder / "images", tmp_path / "masks")) == 12
