"""From a folder of people to their joints: training, scores, files, and everything that may be missing."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

sys.path.append(str(Path(__file__).parents[2] / "data"))

from pose_files import SIZE, draw, figure, write_coco, write_lsp, write_mpii

from pixelwise import api
from pixelwise.data.formats import open_dataset
from pixelwise.data.joints import LSP, MPII, Joints
from pixelwise.data.people import Person, instances_of
from pixelwise.data.pictures import write_png
from pixelwise.data.sample import Sample
from pixelwise.errors import UserError
from pixelwise.models.spec import read_spec
from pixelwise.nn.heatmaps import gaussians
from pixelwise.tasks.pose.inference import PosePrediction, averaged, decoded
from pixelwise.tasks.pose.scores import PoseScores
from pixelwise.tasks.pose.task import FindJoints
from pixelwise.training import loop
from pixelwise.training.run import Run

SMALL = {
    "model.features": 16, "model.depth": 2, "model.stacks": 2, "model.encoder": None, "augment.crop": [64, 64],
    "train.batch_size": 4, "train.validations": 2, "optimizer.lr": 0.005, "augment.rotate": 0.0, "augment.flip": "none",
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lsp(tmp_path_factory.mktemp("pose") / "people", count=10)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return api.train(
        "hourglass_pose", data=data, epochs=60, out=tmp_path_factory.mktemp("pose") / "run", overrides=SMALL
    )


def test_a_run_learns_and_has_scores_a_report_and_files(run: Run, tmp_path: Path) -> None:
    metrics = run.metrics
    assert metrics["pck"] > 0.5, "stick figures are easy"
    assert {"pck", "pck_weighted", "pckh", "pckh_weighted", "joints", "stacks", "pck_by_threshold"} <= set(metrics)
    assert list(metrics["joints"]) == list(LSP.names)
    assert [each["stack"] for each in metrics["stacks"]] == [1, 2]
    assert metrics["stacks"][-1]["pck"] == metrics["pck"]
    curve = list(metrics["pck_by_threshold"].values())
    assert curve == sorted(curve)
    assert metrics["pck_by_threshold"]["0.2"] == metrics["pck"]
    assert api.evaluate(run.path)["pck"] == metrics["pck"]
    assert api.evaluate(run.path, flips="horizontal")["pck"] > 0.5
    page = run.report.read_text()
    assert "PCKh@0.5" in page
    assert "left elbow" in page
    assert read_spec(run.best).notes["joints"]["names"] == list(LSP.names)
    joints = figure(3)
    low, high = np.floor(joints.min(0)).astype(int) - 1, np.ceil(joints.max(0)).astype(int) + 1
    picture = tmp_path / "in" / "x.png"
    write_png(picture, draw(joints, 3)[low[1] : high[1], low[0] : high[0]])
    api.predict(run.path, picture, out=tmp_path / "out", overlay=True)
    rows = list(csv.DictReader((tmp_path / "out" / "joints.csv").open()))
    assert [row["joint"] for row in rows] == list(LSP.names)
    found = np.array([[float(row["x"]), float(row["y"])] for row in rows])
    torso = np.linalg.norm(joints[9] - joints[2])
    assert (np.linalg.norm(found + low - joints, axis=1) < 0.2 * torso).mean() > 0.5, "it fills its picture"
    written = json.loads((tmp_path / "out" / "poses.json").read_text())
    (entry,) = written["annotations"]
    np.testing.assert_allclose(np.reshape(entry["keypoints"], (-1, 3))[:, :2], found, atol=0.01)
    assert written["categories"][0]["keypoints"] == list(LSP.names)
    assert written["categories"][0]["skeleton"][0] == [LSP.skeleton[0][0] + 1, LSP.skeleton[0][1] + 1]
    with Image.open(picture) as before, Image.open(tmp_path / "out" / "x_overlay.png") as after:
        assert before.size == after.size


def test_what_is_predicted_can_be_read_as_data(run: Run, data: Path, tmp_path: Path) -> None:
    """Written poses are COCO's keypoints: beside their pictures they are a dataset of these joints."""
    api.predict(run.path, data / "images", out=tmp_path)
    (tmp_path / "images").symlink_to(data / "images")
    again = open_dataset(tmp_path)
    assert again.layout == "coco"
    assert "keypoints" in again.knows
    objects = again.load(again.records[0]).instances
    assert objects is not None
    assert objects.keypoints is not None
    rows = list(csv.DictReader((tmp_path / "joints.csv").open()))
    np.testing.assert_allclose(objects.keypoints[0, :, 0], [float(row["x"]) for row in rows[:14]], atol=0.01)


def test_boxes_of_a_detector_say_where_people_are(run: Run, tmp_path: Path) -> None:
    wide = np.full((SIZE[0], 300, 3), 75, np.uint8)
    wide[:, 200:280] = draw(figure(1), 1)
    write_png(tmp_path / "in" / "wide.png", wide)
    write_png(tmp_path / "in" / "empty.png", wide)
    joints = figure(1) + np.array([200, 0])
    edges = [*joints.min(0), *joints.max(0)]
    (tmp_path / "boxes.csv").write_text(
        "picture,class,confidence,x0,y0,x1,y1,pixels\n"
        f"wide.png,person,0.9,{','.join(map(str, edges))},\n"
        "wide.png,dog,0.9,0,0,50,50,\n"
    )
    api.predict(run.path, tmp_path / "in", out=tmp_path / "out", boxes=str(tmp_path / "boxes.csv"), overlay=True)
    rows = list(csv.DictReader((tmp_path / "out" / "joints.csv").open()))
    assert {row["picture"] for row in rows} == {"wide.png"}
    found = np.array([[float(row["x"]), float(row["y"])] for row in rows])
    assert len(found) == 14
    assert (np.linalg.norm(found - joints, axis=1) < 0.2 * np.linalg.norm(joints[9] - joints[2])).mean() > 0.5
    coco = {
        "images": [{"id": 1, "file_name": "in/wide.png"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [*edges[:2], *(np.array(edges[2:]) - edges[:2])]}],
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "odd.csv").write_text("file,x0\na.png,3\n")
    (tmp_path / "objects.json").write_text(json.dumps(coco))
    with pytest.raises(UserError, match=r"empty.png is not among the pictures that it lists"):
        api.predict(run.path, tmp_path / "in", out=tmp_path / "json", boxes=str(tmp_path / "objects.json"))
    again = list(csv.DictReader((tmp_path / "json" / "joints.csv").open()))
    assert [row["x"] for row in again] == [row["x"] for row in rows]
    with pytest.raises(UserError, match="the column 'picture' is missing"):
        api.predict(run.path, tmp_path / "in", out=tmp_path / "odd", boxes=str(tmp_path / "odd.csv"))


@pytest.mark.parametrize("kind", ["grey", "sixteen", "turned"])
def test_pictures_of_every_kind(kind: str, run: Run, tmp_path: Path) -> None:
    image = draw(figure(2), 2)
    file = tmp_path / f"{kind}.png"
    if kind == "grey":
        write_png(file, image[..., 0])
    elif kind == "sixteen":
        cv2.imwrite(str(file), image[..., ::-1].astype(np.uint16) * 257)
    else:
        exif = Image.Exif()
        exif[0x0112] = 6  # stored on its side
        Image.fromarray(np.rot90(image).copy()).save(file, exif=exif)
    found = api.load(run.path)(file)
    assert found.keypoints.shape == (1, 14, 3)
    assert found.image.shape == image.shape
    assert np.isfinite(found.keypoints).all()
    if kind != "grey":
        upright = api.load(run.path)(image)
        np.testing.assert_allclose(found.keypoints, upright.keypoints, atol=0.02)


def test_killed_and_resumed_gives_the_same_bytes(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pixelwise.methods.supervised import Supervised

    def trained(name: str) -> Run:
        return api.train("hourglass_pose", data=data, epochs=3, out=tmp_path / name, overrides=SMALL)

    whole = trained("whole")
    steps: list[int] = []
    original = Supervised.step

    class Killed(Exception):
        pass

    def step(self: Supervised, *args: object) -> object:
        if len(steps) == 3:
            raise Killed
        steps.append(1)
        return original(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "step", step)
        with pytest.raises(Killed):
            trained("stopped")
    resumed = api.resume(tmp_path / "stopped")
    assert resumed.best.read_bytes() == whole.best.read_bytes()
    assert resumed.metrics_file.read_bytes() == whole.metrics_file.read_bytes()


def test_coco_and_mpii_train_as_well(tmp_path: Path) -> None:
    quick = {**SMALL, "train.validations": 1}
    coco = api.train(
        "hourglass_pose", data=write_coco(tmp_path / "coco"), epochs=1, out=tmp_path / "a", overrides=quick
    )
    assert coco.metrics["people"] == 1
    with pytest.raises(UserError, match=r"has 16 joints, which are not the 14"):
        api.evaluate(coco.path, data=write_mpii(tmp_path / "mpii"))
    mpii = api.train("hourglass_pose", data=tmp_path / "mpii", epochs=1, out=tmp_path / "b", overrides=quick)
    assert "diagonal of the annotated head box" in mpii.metrics["definition"]
    assert mpii.metrics["joints"]["pelvis"]["people"] == 0
    assert mpii.metrics["joints"]["pelvis"]["pck"] is None


def test_pictures_are_drawn_once_per_person_with_a_joint(tmp_path: Path) -> None:
    write_mpii(tmp_path / "mpii")
    data = open_dataset(tmp_path / "mpii")
    drawn = FindJoints().training_records(data, data.records)
    assert [record.name[-1] for record in drawn] == ["0", "1", "1", "2"], "two people in picture 1, none in picture 3"
    coco = write_coco(tmp_path / "coco")
    content = json.loads((coco / "instances.json").read_text())
    content["annotations"] = [each for each in content["annotations"] if each["image_id"] != 2]
    (coco / "instances.json").write_text(json.dumps(content))
    data = open_dataset(coco)
    drawn = FindJoints().training_records(data, data.records)
    assert [record.name for record in drawn] == ["train/0", "train/1", "train/3"]


def test_data_without_joints_is_one_sentence(tmp_path: Path) -> None:
    write_lsp(tmp_path / "x", flags=np.r_[np.ones((5, 14)), np.zeros((1, 14))])
    (tmp_path / "x" / "joints.mat").unlink()
    for number in range(1, 7):
        write_png(tmp_path / "x" / "masks" / f"im{number:04d}.png", np.eye(*SIZE, dtype=np.uint8))
    with pytest.raises(UserError, match="learns from the joints of each object; add joints of people"):
        api.train("hourglass_pose", data=tmp_path / "x", epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("augment.crop", [64, 96], "found 64 x 96, but the crop of a person must be a square"),
        ("augment.crop", [66, 66], "multiple of the network's stride, 16"),
        ("augment.flip", "both", "people cannot be flipped upside down"),
        ("augment.background", 0.5, "needs class masks"),
    ],
)
def test_plans_that_cannot_be(key: str, value: object, words: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        api.train("hourglass_pose", data=data, epochs=1, out=tmp_path / "x", overrides={**SMALL, key: value})


def test_without_sides_pictures_are_not_mirrored(tmp_path: Path) -> None:
    file = write_coco(tmp_path / "data") / "instances.json"
    file.write_text(file.read_text().replace("left_", "near_").replace("right_", "far_"))
    overrides = {key: value for key, value in SMALL.items() if key != "augment.flip"}
    run = api.train("hourglass_pose", data=tmp_path / "data", epochs=1, out=tmp_path / "run", overrides=overrides)
    assert run.planned.augment.flip == "none"


def test_flips_up_and_down_are_refused(run: Run) -> None:
    with pytest.raises(UserError, match="flips of a network for poses 'all'"):
        api.load(run.path, flips="all")


class Equivariant(torch.nn.Module):
    """Mirrored pictures give mirrored heatmaps by construction: two channels are the left and the right joint."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [F.avg_pool2d(images, 4)]


def test_the_flip_test_moves_nothing() -> None:
    """Of a network for which mirror images are the same task, the mean over both is what it says of the picture."""
    joints = Joints(("nose", "left_eye", "right_eye"))
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.uniform(2, 14, (5, 3, 2)))
    pictures = F.interpolate(gaussians(points, (16, 16)), scale_factor=4, mode="nearest")  # (5, 3, 64, 64)

    class Swapping(Equivariant):
        """As a trained network does, it gives the heatmap of the left eye of whoever looks out of the picture."""

        def forward(self, images: Tensor) -> list[Tensor]:
            seen_mirrored = not torch.allclose(images, pictures)
            order = list(joints.mirrored) if seen_mirrored else [0, 1, 2]
            return [super().forward(images)[0][:, order]]

    plain = averaged(Swapping(), pictures, joints, flips="none")
    both = averaged(Swapping(), pictures, joints, flips="horizontal")
    torch.testing.assert_close(both, plain)
    places, _ = decoded(both, 64)
    assert np.abs(places[0] - 4 * points.numpy()).max() <= 1.0 + 1e-4, "a quarter of a cell of 4 pixels"


def people(count: int) -> tuple[Sample, np.ndarray]:
    joints = np.stack([figure(number) for number in range(count)])
    keypoints = np.concatenate([joints, np.full((count, 14, 1), 2)], -1).astype(np.float32)
    objects = instances_of(tuple(Person(own) for own in keypoints), LSP)
    return Sample("x", np.zeros((*SIZE, 3), np.uint8), instances=objects), joints


def prediction(places: np.ndarray, joints: Joints = LSP) -> PosePrediction:
    """(P, J, 2) of one stack."""
    count = len(places)
    return PosePrediction(
        places[None].astype(np.float32), np.ones(places.shape[:2], np.float32), np.zeros((count, 4)), joints,
        np.zeros((*SIZE, 3), np.uint8),
    )  # fmt: skip


def test_scores_by_hand() -> None:
    """One joint of one of two people is off by a little more than 0.2 of the torso, one by a little less."""
    sample, joints = people(2)
    torso = np.linalg.norm(joints[0, 9] - joints[0, 2])
    found = joints.copy()
    found[0, 4] += (0, 0.21 * torso)
    found[0, 5] += (0.19 * torso, 0)
    scores = PoseScores(LSP)
    scores.update(prediction(found), sample)
    summary = scores.summary("val")
    assert summary["joints"]["left_knee"]["pck"] == 0.5
    assert summary["joints"]["left_ankle"]["pck"] == 1.0
    assert summary["pck"] == pytest.approx(1 - 0.5 / 14)
    assert summary["people"] == 2
    assert scores.pictures[0].share == pytest.approx(27 / 28)
    assert json.loads(json.dumps(summary)) == summary


def test_plain_and_weighted_means_differ_where_joints_are_missing() -> None:
    sample, joints = people(2)
    assert sample.instances is not None
    assert sample.instances.keypoints is not None
    sample.instances.keypoints[1, 0, 2] = 0
    found = joints.copy()
    found[0, 0] += 50
    scores = PoseScores(LSP)
    scores.update(prediction(found), sample)
    assert scores.score("torso", 0.2) == pytest.approx((13 / 14, 26 / 27))


def test_people_without_a_torso_are_no_part_of_pck_but_counted_as_people() -> None:
    sample, joints = people(2)
    assert sample.instances is not None
    assert sample.instances.keypoints is not None
    sample.instances.keypoints[1, 9, 2] = 0
    scores = PoseScores(LSP)
    scores.update(prediction(joints), sample)
    summary = scores.summary("val")
    assert summary["joints"]["neck"]["people"] == 1
    assert "for the 1 people for whom it is known" in summary["definition"]


def test_parts_merge_to_one_pass() -> None:
    whole, first, second = (PoseScores(LSP) for _ in range(3))
    for number in range(4):
        sample, joints = people(1 + number % 2)
        found = joints + np.random.default_rng(number).normal(0, 6, joints.shape)
        whole.update(prediction(found), sample)
        (first if number < 2 else second).update(prediction(found), sample)
    first.merge(second)
    assert first.summary("val") == whole.summary("val")


def test_without_people_there_is_one_sentence() -> None:
    scores = PoseScores(LSP)
    scores.update(prediction(np.zeros((0, 14, 2))), Sample("x", np.zeros((*SIZE, 3), np.uint8)))
    assert np.isnan(scores.values()["pck"])
    with pytest.raises(UserError, match="no person with a joint in the pictures of the split 'val'"):
        scores.summary("val")


def test_people_without_a_head_box_do_not_count_for_pckh_where_others_have_one() -> None:
    """The distance from the neck to the top of the head never stands in for a missing box."""
    _, joints = people(2)
    keypoints = np.concatenate([joints, np.full((2, 14, 1), 2)], -1).astype(np.float32)
    scores = PoseScores(LSP)
    for own, head in zip(keypoints, (np.array([0, 0, 6, 8], np.float32), None), strict=True):
        objects = instances_of((Person(own, head_box=head),), LSP, head_boxes=True)
        scores.update(prediction(own[None, :, :2]), Sample("x", np.zeros((*SIZE, 3), np.uint8), instances=objects))
    assert scores.by_joint("head", 0.5)[1].tolist() == [1] * 14
    assert scores.by_joint("torso", 0.2)[1].tolist() == [2] * 14


def test_other_joints_are_measured_by_the_box() -> None:
    paws = Joints(("left_paw", "right_paw", "tail"))
    keypoints = np.array([[10, 10, 2], [20, 10, 2], [15, 40, 1]], np.float32)
    objects = instances_of((Person(keypoints, np.array([0, 0, 50, 100], np.float32)),), paws)
    scores = PoseScores(paws)
    found = keypoints[None, :, :2] + np.array([[[19.0, 0], [0, 21], [0, 0]]])
    scores.update(prediction(found, paws), Sample("x", np.zeros((100, 50, 3), np.uint8), instances=objects))
    summary = scores.summary("val")
    assert [each["pck"] for each in summary["joints"].values()] == [1, 0, 1]
    assert "longer side of the person's box" in summary["definition"]
    assert "pckh" not in summary


def test_published_predictions_on_mpii(shared_folder: Path) -> None:
    """The literals of `metrics.pckh`, through the scores that runs have."""
    published = scipy.io.loadmat(shared_folder / "reference" / "mpii_val_detections.mat")
    true, found = (published[name].transpose(2, 0, 1) for name in ("pos_gt_src", "pos_pred_src"))
    known = 2.0 * (1 - published["jnt_missing"].T.astype(float))
    heads = published["headboxes_src"].transpose(2, 0, 1).reshape(-1, 4)
    scores = PoseScores(MPII)
    for number in range(len(true)):
        keypoints = np.concatenate([true[number], known[number][:, None]], 1).astype(np.float32)
        objects = instances_of((Person(keypoints, head_box=heads[number].astype(np.float32)),), MPII, head_boxes=True)
        sample = Sample(str(number), np.zeros((1, 1, 3), np.uint8), instances=objects)
        scores.update(prediction(found[number][None], MPII), sample)
    summary = scores.summary("val")
    assert 100 * summary["pckh"] == pytest.approx(81.4584, abs=2e-3)
    assert 100 * summary["pckh_weighted"] == pytest.approx(82.3367, abs=2e-3)
    assert 100 * summary["pckh_by_threshold"]["0.1"] == pytest.approx(28.3976, abs=0.02)
