"""Refinement by superpixels and CRF, outlines, and how prediction and evaluation come by them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from pixelwise import api, cli
from pixelwise.catalog import create_model
from pixelwise.data.formats import open_dataset
from pixelwise.errors import UserError
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.writer import MaskWriter
from pixelwise.metrics import boundaries
from pixelwise.models.spec import ModelSpec, save_model
from pixelwise.tasks.segment.inference import SegmentPrediction
from pixelwise.tasks.segment.outlines import OutlineWriter
from pixelwise.tasks.segment.refinement import dense_crf, superpixel_majority
from pixelwise.tasks.segment.task import Segment
from pixelwise.training.finish import evaluate_split
from tiny_dense import near_predictor


def two_halves() -> tuple[np.ndarray, torch.Tensor, np.ndarray]:
    """A picture of two colours, probabilities whose border is crooked by up to 3 pixels, and the true mask."""
    image = np.full((40, 60, 3), 30, np.uint8)
    image[:, 30:] = 200
    truth = np.zeros((40, 60), np.int64)
    truth[:, 30:] = 1
    given = torch.full((3, 40, 60), 0.1)
    for row in range(40):
        column = 30 + 3 * (-1) ** (row // 5)
        given[0, row, :column], given[1, row, column:] = 0.5, 0.5
        given[1, row, :column], given[0, row, column:] = 0.4, 0.4
    return image, given, truth


@pytest.mark.parametrize("refine", [dense_crf, superpixel_majority])
@pytest.mark.parametrize("kind", ["colour", "grey", "16 bits"])
def test_labels_follow_the_edges_of_the_picture(refine: object, kind: str) -> None:
    image, given, truth = two_halves()
    assert (given.argmax(0).numpy() != truth).sum() > 100
    picture = {"colour": image, "grey": image[..., 0], "16 bits": image.astype(np.uint16) * 257}[kind]
    found = refine(picture, given)  # type: ignore[operator]
    assert found.shape == given.shape
    torch.testing.assert_close(found.sum(0), torch.ones(40, 60))
    assert np.array_equal(found.argmax(0).numpy(), truth)


def test_superpixels_vote() -> None:
    """Each superpixel has one class, the one with the most votes in it."""
    from skimage.segmentation import slic

    photo = cv2.resize(data.astronaut(), (64, 48), interpolation=cv2.INTER_AREA)
    given = torch.rand(4, 48, 64, generator=torch.Generator().manual_seed(0)).softmax(0)
    found = superpixel_majority(photo, given, segment_pixels=50)
    votes, mask = given.argmax(0).numpy(), found.argmax(0).numpy()
    segments = slic(photo, n_segments=round(48 * 64 / 50), compactness=10, start_label=0)
    assert segments.max() > 20
    for segment in np.unique(segments):
        inside = segments == segment
        counts = np.bincount(votes[inside], minlength=4)
        assert set(mask[inside]) == {counts.argmax()}
        np.testing.assert_allclose(found[:, inside][:, 0], counts / counts.sum(), rtol=1e-6)


@pytest.mark.parametrize("refine", [dense_crf, superpixel_majority])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2)])
def test_tiny_pictures(refine: object, size: tuple[int, int]) -> None:
    found = refine(np.zeros((*size, 3), np.uint8), torch.full((2, *size), 0.5))  # type: ignore[operator]
    assert found.shape == (2, *size)
    assert torch.isfinite(found).all()


def predictor(refine: str, **options: object) -> Predictor[SegmentPrediction]:
    return near_predictor(refine=refine, **options)


@pytest.mark.parametrize("name", ["crf", "superpixels"])
def test_predictor_refines_arrays_and_files_alike(name: str, tmp_path: Path) -> None:
    photo = cv2.resize(data.astronaut(), (70, 50), interpolation=cv2.INTER_AREA)
    plain, refined = predictor("none")(photo), predictor(name)(photo)
    function = {"crf": dense_crf, "superpixels": superpixel_majority}[name]
    expected = function(photo, torch.from_numpy(plain.probabilities))
    assert np.array_equal(refined.mask, expected.argmax(0))
    assert not np.array_equal(refined.mask, plain.mask)
    np.testing.assert_allclose(refined.probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(refined.confidence, expected.max(0).values, atol=1e-5)
    picture = tmp_path / "p.png"
    cv2.imwrite(str(picture), photo[..., ::-1])
    written = predictor(name).predict_file(picture, tmp_path / "mask", overlay=tmp_path / "overlay.png")
    assert np.array_equal(cv2.imread(str(written), cv2.IMREAD_UNCHANGED), refined.mask)


def test_tiled_pictures_and_unknown_names_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'superpixels'"):
        predictor("superpixel")
    photo = np.zeros((300, 400, 3), np.uint8)
    with pytest.raises(UserError, match=r"400 x 300 pixels are predicted in tiles.*'crf'.*the whole picture at once"):
        predictor("crf", tile=128)(photo)
    cv2.imwrite(str(tmp_path / "p.png"), photo)
    with pytest.raises(UserError, match="in tiles"):
        predictor("crf", tile=128).predict_file(tmp_path / "p.png", tmp_path / "mask")
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


@pytest.mark.parametrize("bands", [[50], [1] * 50, [2, 1, 30, 1, 16], [49, 1]])
def test_outlines_by_bands_equal_those_of_the_whole(bands: list[int], tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (50, 40)).astype(np.uint8).repeat(1, 0)
    mask = cv2.medianBlur(mask, 5)
    with MaskWriter(tmp_path / "o.png", 50, 40) as writer:
        outlines = OutlineWriter(writer)
        top = 0
        for rows in bands:
            outlines.write(mask[top : top + rows])
            top += rows
        outlines.finish()
    expected = boundaries(mask)
    assert 0.1 < expected.mean() < 0.9
    assert np.array_equal(cv2.imread(str(tmp_path / "o.png"), cv2.IMREAD_UNCHANGED), expected * 255)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory, scenes_folder: Path) -> Path:
    dataset = open_dataset(scenes_folder)
    torch.manual_seed(0)
    options = {"in_channels": 3, "num_classes": len(dataset.class_names), "width": 4, "encoder": None}
    model = create_model("unet", **options)
    spec = ModelSpec("unet", options, dataset.class_names, dataset.form, (128.0,) * 3, (64.0,) * 3)
    path = tmp_path_factory.mktemp("model") / "best.safetensors"
    save_model(path, model.state_dict(), spec)
    return path


def test_evaluation_has_the_boundary_score(model_file: Path, scenes_folder: Path) -> None:
    from pixelwise.metrics import BoundaryScore

    predict, dataset = api.load(model_file), open_dataset(scenes_folder)
    summary = evaluate_split(predict, Segment(), dataset, "val", model_file.parent).summary
    score = BoundaryScore(dataset.class_names)
    for record in dataset.split("val"):
        sample = dataset.load(record)
        assert sample.mask is not None
        score.update(predict(sample.image).mask, sample.mask)
    assert summary["boundary"] == score.summary("val")
    assert summary["boundary_f"] == score.mean_f()
    json.dumps(summary, allow_nan=False)


def test_refined_evaluation_differs_and_mistakes_are_sentences(model_file: Path, scenes_folder: Path) -> None:
    plain, refined = (api.evaluate(model_file, data=scenes_folder, refine=name) for name in ("none", "superpixels"))
    assert plain["pixels"] == refined["pixels"]
    assert plain["pixel_accuracy"] != refined["pixel_accuracy"]
    with pytest.raises(UserError, match="unknown refinement 'srf'; did you mean 'crf'"):
        api.evaluate(model_file, data=scenes_folder, refine="srf")
    with pytest.raises(UserError, match="did you mean 'watershed'"):
        api.evaluate(model_file, data=scenes_folder, instances="watersheds")


def test_command_line(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "in"
    pictures.mkdir()
    photo = cv2.resize(data.astronaut(), (48, 40), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(pictures / "a.png"), photo[..., ::-1])
    out = tmp_path / "out"
    arguments = ["pixelwise", "predict", model_file, pictures, "--out", out, "--refine", "crf", "--boundaries"]
    monkeypatch.setattr("sys.argv", list(map(str, arguments)))
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "a_boundaries.png"]
    mask, edges = (cv2.imread(str(out / name), cv2.IMREAD_UNCHANGED) for name in ("a.png", "a_boundaries.png"))
    assert np.array_equal(edges, boundaries(mask) * 255)
    (out / "a.png").unlink()
    with pytest.raises(SystemExit) as stopped:  # the outlines are still there
        cli.main()
    assert stopped.value.code == 1
    assert "a_boundaries.png: exists already" in capsys.readouterr().err
    cv2.imwrite(str(pictures / "a_boundaries.png"), photo)
    with pytest.raises(UserError, match="leave out --boundaries"):
        api.predict(model_file, pictures, tmp_path / "other", boundaries=True)
