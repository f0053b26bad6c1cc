"""`pixelwise suggest` on small runs: what is chosen, what is written, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise import api
from pixelwise.active import entropy
from pixelwise.active.measuring import labelled_features
from pixelwise.active.observer import FeatureMap, Observation, Observer
from pixelwise.active.strategies import STRATEGIES
from pixelwise.catalog import SYSTEMS, create_model
from pixelwise.data.formats import open_dataset
from pixelwise.data.pictures import PictureFormat, write_png
from pixelwise.data.sample import VOID
from pixelwise.data.scenes import write_scenes
from pixelwise.errors import UserError
from pixelwise.inference.rasters import Picture
from pixelwise.models.spec import ModelSpec, save_model
from pixelwise.tasks.segment.task import Segment
from tiny_dense import near

DENSE = {"model.width": 4, "model.encoder": None, "augment.crop": [32, 48], "train.batch_size": 2}
COMPARING_GRADIENTS = ("sensitivity", "adversarial")


@pytest.fixture(scope="module")
def segmenter(scenes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "segment"
    api.train("unet", data=scenes_folder, epochs=1, out=out, overrides={**DENSE, "train.validations": 1})
    return out


@pytest.fixture(scope="module")
def classifier(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "classify"
    api.train("mlp", data=digits_folder, epochs=2, out=out, overrides={"model.hidden": [16], "train.validations": 1})
    return out


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pictures of 64 x 96 pixels."""
    folder = tmp_path_factory.mktemp("pool")
    write_scenes(folder / "all", train=6, val=3, size=(64, 96), seed=5)
    (folder / "pool").mkdir()
    for number, file in enumerate(sorted((folder / "all" / "images").iterdir())):
        shutil.copyfile(file, folder / "pool" / f"{number:02d}.png")
    return folder / "pool"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty digits that the classifier has not seen, in a folder."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    for number, image in enumerate(load_digits().images[-30:]):
        write_png(folder / f"{number:02d}.png", (image * 15.9).astype("uint8"))
    return folder


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "suggested.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("unit", ["pictures", "regions", "pixels"])
@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in COMPARING_GRADIENTS])
def test_every_strategy_in_every_unit(segmenter: Path, scenes: Path, tmp_path: Path, strategy: str, unit: str) -> None:
    for out in ("one", "two"):
        api.suggest(segmenter, scenes, tmp_path / out, budget=6, unit=unit, strategy=strategy, passes=2, seed=3)
    found = rows(tmp_path / "one")
    assert [int(row["rank"]) for row in found] == [1, 2, 3, 4, 5, 6]
    assert all((scenes / row["picture"]).is_file() and row["reason"] for row in found)
    places = [tuple(row[key] for key in row if key not in ("rank", "score", "reason")) for row in found]
    assert len(set(places)) == 6
    files = sorted(file.relative_to(tmp_path / "one") for file in (tmp_path / "one").rglob("*") if file.is_file())
    assert files
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_of_a_classifier(classifier: Path, digits: Path, tmp_path: Path, strategy: str) -> None:
    api.suggest(classifier, digits, tmp_path / "out", budget=5, strategy=strategy, passes=3)
    assert len({row["picture"] for row in rows(tmp_path / "out")}) == 5
    assert sorted(path.name for path in (tmp_path / "out" / "to_label").iterdir() if path.is_dir()) == [
        "digit0",
        "digit1",
        "digit2",
    ]


def test_entropy_is_that_of_the_predictions(classifier: Path, digits: Path, tmp_path: Path) -> None:
    predictor = api.load(classifier, precision="float32")
    expected = {
        file.name: float(entropy(predictor(file).probabilities[None])[0]) for file in sorted(digits.glob("*.png"))
    }
    best = sorted(expected, key=lambda name: -expected[name])[:7]
    api.suggest(classifier, digits, tmp_path / "out", budget=7, strategy="entropy")
    found = rows(tmp_path / "out")
    assert [row["picture"] for row in found] == best
    assert [float(row["score"]) for row in found] == pytest.approx([expected[name] for name in best], abs=1e-5)


def test_dense_entropy_is_the_mean_over_the_pixels(segmenter: Path, scenes: Path, tmp_path: Path) -> None:
    predictor = api.load(segmenter)
    expected = {
        file.name: float(entropy(predictor(file).probabilities[None]).mean()) for file in sorted(scenes.glob("*.png"))
    }
    api.suggest(segmenter, scenes, tmp_path / "out", budget=9, strategy="entropy")
    found = {row["picture"]: float(row["score"]) for row in rows(tmp_path / "out")}
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("strategy", ["mixed", "bald"])
def test_tiles_give_the_scores_and_features_of_the_whole(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (300, 330, 3)).astype(np.uint8)
    names = ("a", "b", "c")
    spec = ModelSpec("near", {}, names, PictureFormat(3, "uint8"), (128.0,) * 3, (64.0,) * 3)

    def observed() -> Observation:
        network = near().eval()
        network.head.weight.data *= 4
        observer = Observer(network, spec, Segment(), STRATEGIES[strategy], passes=3, seed=0)
        (found,) = observer.observe([picture])
        assert isinstance(found, Observation)
        return found

    whole = observed()
    monkeypatch.setattr("pixelwise.inference.dense.ACTIVATION_BYTES", 1)
    tiled = observed()
    assert whole.scores is not None
    assert tiled.scores is not None
    assert whole.scores.shape == tiled.scores.shape == (300, 330)
    if strategy == "bald":  # dropout differs from tile to tile, but on average the passes disagree as much
        assert tiled.score == pytest.approx(whole.score, rel=0.1)
        return
    assert len(tiled.features) > 1 == len(whole.features)
    assert tiled.scores == pytest.approx(whole.scores, abs=1e-3)
    assert whole.features_at(3, 3).base is None  # candidates keep features, and not the maps that they come from
    assert tiled.mean_features == pytest.approx(whole.mean_features, abs=2e-3)
    for x, y in np.random.default_rng(1).uniform(0, 300, (50, 2)).tolist():
        assert tiled.features_at(x, y) == pytest.approx(whole.features_at(x, y), abs=1e-2)


def load_first_mask(data: Path) -> np.ndarray:
    dataset = open_dataset(data)
    return dataset.load_mask(dataset.records[0])


@pytest.fixture(scope="module")
def out(segmenter: Path, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Suggested regions."""
    out = tmp_path_factory.mktemp("regions") / "out"
    api.suggest(segmenter, scenes, out, budget=12, unit="regions")
    return out


class TestRegions:
    def test_they_are_small_parts_that_are_apart(self, out: Path) -> None:
        for row in rows(out):
            assert 0 < int(row["area"]) <= 0.1 * 64 * 96
            assert 0 <= int(row["x0"]) < int(row["x1"]) <= 96
            assert 0 <= int(row["y0"]) < int(row["y1"]) <= 64
        for mask in (out / "to_label" / "masks").glob("*.png"):
            asked = np.array(Image.open(mask)) == 254
            assert 0 < asked.mean() < 0.3

    def test_a_plain_picture_has_no_region_that_is_the_whole_picture(self, segmenter: Path, tmp_path: Path) -> None:
        (tmp_path / "pool").mkdir()
        for name in "ab":
            Image.new("RGB", (96, 64), (9, 9, 9)).save(tmp_path / "pool" / f"{name}.png")
        api.suggest(segmenter, tmp_path / "pool", tmp_path / "out", budget=4, unit="regions")
        assert all(int(row["area"]) <= 0.1 * 64 * 96 for row in rows(tmp_path / "out"))

    def test_masks_that_are_not_painted_are_refused_and_painted_ones_are_void_elsewhere(
        self, out: Path, tmp_path: Path
    ) -> None:
        data = shutil.copytree(out / "to_label", tmp_path / "data")
        with pytest.raises(UserError, match="254"):
            load_first_mask(data)
        asked = {}
        for file in (data / "masks").glob("*.png"):
            stored = Image.open(file)
            ids = np.array(stored)
            asked[file.stem] = ids == 254
            ids[ids == 254] = 1
            painted = Image.fromarray(ids)
            painted.putpalette(stored.getpalette() or [])
            painted.save(file)
        dataset = open_dataset(data)
        for record in dataset.records:
            mask = dataset.load_mask(record)
            assert np.array_equal(mask == 1, asked[Path(record.name).name])
            assert set(np.unique(mask)) == {1, VOID}

    def test_labelme_files_are_void_until_a_region_has_a_class(self, out: Path, tmp_path: Path) -> None:
        data = shutil.copytree(out / "to_label", tmp_path / "data")
        masks = {file.stem: np.array(Image.open(file)) == 254 for file in (data / "masks").glob("*.png")}
        shutil.rmtree(data / "masks")
        dataset = open_dataset(data)
        assert dataset.layout == "labelme"
        assert all((dataset.load_mask(record) == VOID).all() for record in dataset.records)
        name = dataset.class_names[1]
        for file in (data / "labelme").glob("*.json"):
            content = json.loads(file.read_text())
            assert (file.parent / content["imagePath"]).is_file()
            for shape in content["shapes"][1:]:
                shape["label"] = name
            file.write_text(json.dumps(content))
        dataset = open_dataset(data)
        for record in dataset.records:
            mask = dataset.load_mask(record)
            assert np.array_equal(mask == 1, masks[Path(record.name).name])
            assert set(np.unique(mask)) == {1, VOID}


@pytest.mark.parametrize("unit", ["regions", "pixels"])
def test_regions_and_pixels_are_compared_with_what_is_labelled(
    segmenter: Path, scenes: Path, tmp_path: Path, unit: str
) -> None:
    api.suggest(segmenter, scenes, tmp_path / "next", budget=4, unit=unit, strategy="k_centre")
    found = rows(tmp_path / "next")
    assert all("from the nearest labelled or chosen one" in row["reason"] for row in found)
    distances = [float(row["score"]) for row in found]
    assert distances == sorted(distances, reverse=True)  # the first is far from what is labelled, too


def test_features_of_labels_are_those_of_labelled_pixels(scenes_folder: Path) -> None:
    """Of maps that hold the row and the column of each position."""

    class Positions:
        def observe(self, pictures: Iterable[Picture]) -> Iterator[Observation | UserError]:
            for number, _ in enumerate(pictures):
                maps = np.stack(np.mgrid[:20, :30]).astype(np.float32)
                part = FeatureMap(slice(0, 20), slice(0, 30), (0, 20, 0, 30), maps)
                yield UserError("broken") if number == 2 else Observation((20, 30), None, (part,))

    records = open_dataset(scenes_folder).split("train")[:4]
    labelled = np.zeros((20, 30), bool)
    labelled[3:6, 7:30] = True
    few = np.zeros((20, 30), bool)
    few[11, 13] = True
    masks = {0: labelled, 1: few, 3: None}
    found = labelled_features(Positions(), records, "pixels", masks.get)
    assert len(found) == 16 + 1 + 16
    assert all(labelled[tuple(each.astype(int))] for each in found[:16])
    assert found[16].tolist() == [11, 13]
    for own in (found[:16], found[17:]):
        assert len({tuple(each) for each in own}) == 16
    whole = labelled_features(Positions(), records, "pictures", masks.get)
    assert np.stack(whole).tolist() == [[9.5, 14.5]] * 3


def test_points_wait_for_their_classes(segmenter: Path, scenes: Path, tmp_path: Path) -> None:
    api.suggest(segmenter, scenes, tmp_path / "out", budget=20, unit="pixels", strategy="entropy")
    data = tmp_path / "out" / "to_label"
    with pytest.raises(UserError, match="no row has a class yet"):
        open_dataset(data)
    lines = (data / "points.csv").read_text().splitlines()
    assert all(line.endswith(",") for line in lines[1:])
    (data / "points.csv").write_text("\n".join([lines[0], *(f"{line}1" for line in lines[1:])]))
    dataset = open_dataset(data)
    labelled = sum(np.count_nonzero(dataset.load_mask(record) != VOID) for record in dataset.records if record.labels)
    assert labelled == 20


class TestPool:
    def test_labelled_pictures_are_named_and_left_out(self, segmenter: Path, scenes: Path, scenes_folder: Path) -> None:
        pool = scenes.parent / "mixed"
        shutil.copytree(scenes, pool)
        dataset = open_dataset(scenes_folder)
        train, val = dataset.split("train")[0], dataset.split("val")[0]
        shutil.copyfile(train.picture, pool / "again.png")
        shutil.copyfile(val.picture, pool / "held_out.png")
        done = api.suggest(segmenter, pool, scenes.parent / "left", budget=9)
        assert done[0] == "2 pictures have labels in the data of the run and will not be suggested (again, held_out)."
        assert not {"again.png", "held_out.png"} & {row["picture"] for row in rows(scenes.parent / "left")}

    def test_no_mask_of_the_pool_is_read(self, segmenter: Path, scenes: Path, tmp_path: Path) -> None:
        pool = tmp_path / "pool"
        shutil.copytree(scenes, pool / "images")
        (pool / "masks").mkdir()
        (pool / "masks" / "00.png").write_bytes(b"not a picture")
        done = api.suggest(segmenter, pool, tmp_path / "out", budget=8)
        assert done[0].startswith("1 picture has labels in this folder and will not be suggested (")
        assert not any(row["picture"].endswith("/00.png") for row in rows(tmp_path / "out"))

    def test_folders_that_are_no_classes_label_nothing(self, classifier: Path, digits: Path, tmp_path: Path) -> None:
        for number, file in enumerate(sorted(digits.glob("*.png"))):
            folder = ("monday", "tuesday", "digit1")[number % 3]
            (tmp_path / "pool" / folder).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, tmp_path / "pool" / folder / file.name)
        done = api.suggest(classifier, tmp_path / "pool", tmp_path / "out", budget=20)
        assert "10 pictures have labels in this folder" in done[0]

    def test_a_damaged_picture_is_named(self, segmenter: Path, scenes: Path, tmp_path: Path) -> None:
        shutil.copytree(scenes, tmp_path / "pool")
        (tmp_path / "pool" / "04.png").write_bytes((scenes / "00.png").read_bytes()[:300])
        done = api.suggest(segmenter, tmp_path / "pool", tmp_path / "out", budget=8)
        assert any("1 picture could not be measured" in line and "04.png" in line for line in done)
        assert "04.png" not in {row["picture"] for row in rows(tmp_path / "out")}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 10}, "--budget 10: .* offers 9 pictures without labels"),
        ({"budget": 0}, "--budget 0"),
        ({"budget": 5000, "unit": "regions"}, "regions without labels that are far enough apart"),
        ({"budget": 1, "unit": "region"}, "unknown unit 'region'; did you mean 'regions'"),
        ({"budget": 1, "strategy": "entorpy"}, "unknown strategy 'entorpy'; did you mean 'entropy'"),
        ({"budget": 1, "strategy": "adversarial"}, "predict every pixel; choose sensitivity"),
        ({"budget": 1, "strategy": "sensitivity", "unit": "pixels"}, "measures whole pictures, not pixels"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    segmenter: Path, scenes: Path, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        api.suggest(segmenter, scenes, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_more_that_cannot_work(segmenter: Path, classifier: Path, scenes: Path, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--unit regions: networks of the task 'classify' predict whole pictures"):
        api.suggest(classifier, digits, tmp_path / "out", budget=1, unit="regions")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures found"):
        api.suggest(segmenter, tmp_path / "empty", tmp_path / "out", budget=1)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(UserError, match="exists already"):
        api.suggest(segmenter, scenes, tmp_path / "taken", budget=1)
    done = api.suggest(segmenter / "best.safetensors", scenes, tmp_path / "out", budget=1)
    assert "a model file does not hold its data" in done[0]


def test_a_task_without_strategies(scenes: Path, tmp_path: Path) -> None:
    options = SYSTEMS["vae"].tiny
    spec = ModelSpec("vae", dict(options), (), PictureFormat(3, "uint8"), (0.0,) * 3, (1.0,) * 3)
    save_model(tmp_path / "vae.safetensors", create_model("vae", **options).state_dict(), spec)
    with pytest.raises(UserError, match="there are no strategies for the task 'generate'"):
        api.suggest(tmp_path / "vae.safetensors", scenes, tmp_path / "out", budget=1)
