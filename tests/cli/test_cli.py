"""The command line as a user meets it: help is instant, every mistake is one sentence, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pixelwise import __version__, api, catalog, cli

TINY = ["--set", "model.width=4", "--set", "model.encoder=null", "--set", "augment.crop=[32,48]",
        "--set", "train.batch_size=2", "--set", "train.validations=1"]  # fmt: skip


def pixelwise(*arguments: object) -> tuple[int, str]:
    """Exit status, and what was printed to the error stream; in this process, which is a hundred times faster."""
    import contextlib
    import io

    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["pixelwise", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0) if not isinstance(stop.code, str) else 1
    return status, err.getvalue() + out.getvalue()


@pytest.fixture(scope="module")
def run(scenes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "run"
    overrides = [part for part in TINY if part != "--set"]
    api.train("unet", data=scenes_folder, epochs=1, out=out, overrides=overrides)
    return out


def test_help_imports_no_torch() -> None:
    code = "import sys; sys.argv = ['pixelwise', '--help']\nfrom pixelwise.cli import main\n"
    code += "try: main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "predict" in done.stdout


def test_listing_systems_draws_nothing() -> None:
    """A list of networks is there at once: what draws, measures objects or lays out pages is loaded when it is used."""
    code = "import sys, pixelwise.catalog\nheavy = {'matplotlib', 'skimage', 'scipy', 'jinja2'}\n"
    code += "assert heavy.isdisjoint(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_check_imports_no_torch(scenes_folder: Path) -> None:
    code = f"import sys; sys.argv = ['pixelwise', 'check', {str(scenes_folder)!r}]\nfrom pixelwise.cli import main\n"
    code += "try: main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pictures" in done.stdout


def test_the_command_line_prepares_its_process(run: Path, scenes_folder: Path, tmp_path: Path) -> None:
    """Threads are left to pixelwise; freed memory is kept where networks run."""
    before = cv2.getNumThreads()
    pictures = scenes_folder / "images"
    try:
        for arguments, memory in (
            (["check", scenes_folder, "--json"], False),
            (["predict", run, pictures, "--out", tmp_path / "masks"], True),
        ):
            cv2.setNumThreads(3)
            with mock.patch("pixelwise.hardware.keep_freed_memory") as kept:
                assert pixelwise(*arguments)[0] == 0
            assert cv2.getNumThreads() == 1
            assert kept.called == memory
    finally:
        cv2.setNumThreads(before)


def test_help_takes_a_fraction_of_importing_torch() -> None:
    def seconds(code: str) -> float:
        times = []
        for _ in range(3):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
            times.append(time.perf_counter() - started)
        return min(times)

    assert seconds("import sys; sys.argv = ['p', '--help']; from pixelwise.cli import app; app(standalone_mode=False)") < 0.5 * seconds("import torch")  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "unett", "--data", "DATA"], "did you mean 'unet'"),
        (["train"], "nothing to train on"),
        (["train", "unet"], "no data"),
        (["train", "unet", "--data", "nowhere"], "nowhere"),
        (["train", "unet", "--data", "DATA", "--set", "optimizer.lrr=1"], "did you mean 'optimizer.lr'"),
        (["train", "unet", "--data", "DATA", "--set", "model.encoder=resnet81"], "did you mean 'resnet18'"),
        (["train", "unet", "--data", "DATA", "--set", "model.weights=none.pth"], "none.pth"),
        (["train", "unet", "--data", "DATA", "--minutes", "1", "--epochs", "1"], "one budget"),
        (
            ["train", "resnet18", "--data", "DATA"],
            "resnet18 learns from a class per picture",
        ),
        (["train", "--resume", "nowhere"], "not a run folder"),
        (["train", "unet", "--resume", "nowhere"], "cannot be combined with a recipe"),
        (["evaluate", "nowhere"], "no such model file"),
        (["predict", "RUN", "nowhere.png", "--out", "OUT"], "nowhere.png: no such picture"),
        (["evaluate", "RUN", "--split", "tset"], "'tset'"),
        (["evaluate", "RUN", "--rle-order", "rows"], "which has no tables of run lengths"),
        (["convert", "DATA", "--to", "coco", "--out", "OUT", "--rle-order", "rows"], "has no tables of run lengths"),
        (["evaluate", "RUN", "--flips", "vertical"], "flips"),
        (["evaluate", "RUN", "--scales", "a,b"], "numbers"),
        (["predict", "RUN", "DATA", "--out", "OUT", "--option", "refin=crf"], "refine"),
        (["predict", "RUN", "DATA", "--out", "OUT", "--option", "refine"], "--option refine"),
        (["sample", "RUN", "--out", "OUT"], "was trained for the task 'segment' and makes no new pictures"),
        (["sample", "nowhere", "--out", "OUT"], "nowhere"),
        (["train", "mlp", "--data", "DATA", "--unlabelled", "nowhere"], "nowhere"),
        (
            ["train", "unet", "--data", "DATA", "--unlabelled", "DATA"],
            "set method.name to a method that does (fixmatch, ",
        ),
        (["models", "--task", "segmnt"], "did you mean 'segment'"),
        (["check", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], words: str, run: Path, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"DATA": str(scenes_folder), "RUN": str(run), "OUT": str(tmp_path / "out")}
    status, text = pixelwise(*(places.get(argument, argument) for argument in arguments))
    assert status == 1
    assert words in text
    assert "Traceback" not in text
    assert text.strip().count("\n") == 0 or arguments[0] == "check"
    assert list(tmp_path.iterdir()) == []


def dataset(folder: Path, masks: list[np.ndarray], classes: str | None = None) -> Path:
    for index, mask in enumerate(masks):
        for sub, array in (("images", np.full((*mask.shape, 3), 90 + index, np.uint8)), ("masks", mask)):
            (folder / sub).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(folder / sub / f"p{index}.png")
    if classes:
        (folder / "classes.txt").write_text(classes)
    return folder


HALF = np.repeat([[0], [1]], 24, axis=0) * np.ones((1, 48), int)


@pytest.mark.parametrize(
    ("masks", "classes", "words"),
    [
        ([HALF], None, "one"),
        ([np.zeros((48, 48))] * 6, "a\nb\n", "nothing to distinguish"),
        ([np.full((48, 48), 255)] * 6, "a\nb\nc\n", "only void"),
        ([HALF * 4] * 6, "a\nb\n", "class id 4 found"),
    ],
)
def test_data_that_cannot_teach(tmp_path: Path, masks: list[np.ndarray], classes: str | None, words: str) -> None:
    data = dataset(tmp_path / "data", masks, classes)
    status, text = pixelwise("train", "unet", "--data", data, "--out", tmp_path / "run", "--epochs", 1, *TINY)
    assert status == 1
    assert words in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("masks", np.full((48, 48), 7), "class id 7 found"),
        ("masks", np.zeros((40, 48)), "40"),
        ("masks", np.full((48, 48), 255), "'val' hold only void"),
        ("images", None, "p4"),
    ],
)
def test_a_bad_validation_file_is_found_before_training(
    tmp_path: Path, name: str, content: np.ndarray | None, words: str
) -> None:
    data = dataset(tmp_path / "data", [HALF] * 5, "a\nb\nc\n")
    (data / "train.txt").write_text("p0\np1\np2\np3\n")
    (data / "val.txt").write_text("p4\n")
    if content is None:
        (data / name / "p4.png").write_bytes(b"")
    else:
        Image.fromarray(content.astype(np.uint8)).save(data / name / "p4.png")
    status, text = pixelwise("train", "unet", "--data", data, "--out", tmp_path / "run", "--epochs", 1, *TINY)
    assert status == 1
    assert words in text
    assert not (tmp_path / "run").exists()


def test_impossible_output_places(scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").write_text("a file")
    for more in ([], ["--out", "runs/below"]):
        status, text = pixelwise("train", "unet", "--data", scenes_folder, "--epochs", 1, *TINY, *more)
        assert status == 1
        assert "runs" in text
        assert "Traceback" not in text


def test_ctrl_c_saves_and_says_how_to_go_on(scenes_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pixelwise", "train", "unet", "--data", str(scenes_folder), "--epochs", "4000"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "my run"), *TINY],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    log = tmp_path / "my run" / "log.jsonl"
    deadline = time.monotonic() + 90
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == (
        f"pixelwise: stopped; everything is saved. Continue with: `pixelwise train --resume '{tmp_path / 'my run'}'`"
    )
    assert (tmp_path / "my run" / "last" / "state.json").exists()


def test_empty_and_wrong_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("no pictures")
    (tmp_path / "file").write_text("a file")
    for name in ("empty", "text", "file"):
        status, text = pixelwise("train", "unet", "--data", tmp_path / name)
        assert status == 1
        assert name in text


def test_weights_of_another_shape(scenes_folder: Path, tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.zeros(3, 3, 7, 7)}, tmp_path / "w.safetensors")
    settings = ["--set", "model.encoder=resnet18", "--set", f"model.weights={tmp_path / 'w.safetensors'}"]
    status, text = pixelwise("train", "unet", "--data", scenes_folder, "--out", tmp_path / "run", *settings)
    assert status == 1
    assert "w.safetensors" in text
    assert not (tmp_path / "run").exists()


def test_an_output_folder_that_exists_is_not_touched(run: Path, scenes_folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    status, text = pixelwise("train", "unet", "--data", scenes_folder, "--out", run)
    assert status == 1
    assert "exists already" in text
    assert "--resume" in text
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_train_prints_the_table_and_resume_of_a_finished_run_changes_nothing(
    scenes_folder: Path, tmp_path: Path
) -> None:
    status, text = pixelwise("train", "unet", "--data", scenes_folder, "--out", tmp_path / "r", "--epochs", 1, *TINY)
    assert status == 0, text
    assert "mean IoU" in text
    assert "What limits this result\n- A short run: 4 steps of 2 crops" in text
    assert "report.html" in text
    before = (tmp_path / "r" / "metrics.json").read_bytes()
    status, text = pixelwise("train", "--resume", tmp_path / "r")
    assert status == 0, text
    assert (tmp_path / "r" / "metrics.json").read_bytes() == before


def test_the_next_commands_run(run: Path) -> None:
    import shlex

    lines = [line for line in (run / "next.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) >= 3
    for line in lines[:2]:
        status, text = pixelwise(*shlex.split(line)[1:])
        assert status == 0, text
    shutil.rmtree(run / "predictions")


def test_evaluate_as_json_equals_the_run(run: Path, scenes_folder: Path) -> None:
    status, text = pixelwise("evaluate", run, "--json")
    assert status == 0
    assert json.loads(text) == json.loads((run / "metrics.json").read_text())
    status, text = pixelwise("evaluate", run / "best.safetensors", "--data", scenes_folder, "--split", "all", "--json")
    assert status == 0
    assert json.loads(text)["pictures"] == 12
    status, text = pixelwise("evaluate", run / "best.safetensors")
    assert status == 1
    assert "--data" in text


def test_predict_writes_masks_and_overlays_and_overwrites_nothing(run: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "in"
    (pictures / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(pictures / "a.png")
    Image.fromarray(rng.integers(0, 255, (40, 50), dtype=np.uint8)).save(pictures / "a.jpg")
    Image.fromarray(rng.integers(0, 255, (1, 1, 4), dtype=np.uint8)).save(pictures / "sub" / "dot.png")
    status, text = pixelwise("predict", run, pictures, "--out", tmp_path / "out", "--overlay")
    assert status == 0, text
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert files == ["a_jpg.png", "a_jpg_overlay.png", "a_png.png", "a_png_overlay.png", "sub/dot.png", "sub/dot_overlay.png"]  # fmt: skip  # noqa: E501
    assert np.array(Image.open(tmp_path / "out" / "a_jpg.png")).shape == (40, 50)
    status, text = pixelwise("predict", run, pictures, "--out", tmp_path / "out")
    assert status == 1
    assert "exists already" in text


def test_predict_names_what_it_does_not_read(run: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "IMG_1.HEIC").write_bytes(b"x")
    status, text = pixelwise("predict", run, tmp_path / "in", "--out", tmp_path / "out")
    assert status == 0, text
    assert "1 HEIC (IMG_1.HEIC)" in text
    (tmp_path / "in" / "a.png").unlink()
    status, text = pixelwise("predict", run, tmp_path / "in", "--out", tmp_path / "other")
    assert status == 1
    assert "no pictures in this folder" in text


def test_results_are_named_as_the_user_named_the_pictures(run: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "in" / "sub").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "store" / "8f3a.png")
    (tmp_path / "in" / "sub" / "x.png").symlink_to(tmp_path / "store" / "8f3a.png")
    (tmp_path / "in" / "._x.png").write_bytes(b"hidden")
    status, text = pixelwise(
        "predict", run, tmp_path / "in", tmp_path / "in" / "sub" / "x.png", "--out", tmp_path / "o"
    )
    assert status == 0, text
    assert [path.relative_to(tmp_path / "o").as_posix() for path in (tmp_path / "o").rglob("*.png")] == ["sub/x.png"]


def test_an_overlay_and_a_mask_of_one_name_are_refused(run: Path, tmp_path: Path) -> None:
    for name in ("a.png", "a_overlay.png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name)
    status, text = pixelwise("predict", run, tmp_path, "--out", tmp_path / "out", "--overlay")
    assert status == 1
    assert "a_overlay" in text
    assert not (tmp_path / "out").exists()


def test_one_bad_picture_does_not_stop_the_others(run: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    status, text = pixelwise("predict", run, tmp_path / "in", "--out", tmp_path / "out")
    assert status == 1
    assert "1 of 2" in text
    assert "bad.png" in text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]


def test_check_reports_and_exits(scenes_folder: Path, tmp_path: Path) -> None:
    status, text = pixelwise("check", scenes_folder, "--json")
    assert status == 0
    json.loads(text)
    broken = tmp_path / "broken"
    shutil.copytree(scenes_folder, broken)
    sorted((broken / "images").iterdir())[0].write_bytes(b"")
    status, text = pixelwise("check", broken)
    assert status == 1
    assert "zero" in text
    status, text = pixelwise("check", broken, "--fix", tmp_path / "fixed")
    assert status == 0
    assert pixelwise("check", tmp_path / "fixed")[0] == 0


def test_models_and_recipes() -> None:
    status, text = pixelwise("models", "--task", "segment")
    assert status == 0
    assert "unet_original" in text
    assert "resnet50" not in text.split("Encoders")[0]
    status, text = pixelwise("recipes")
    assert status == 0
    assert "scenes-unet" in text


def test_listings_have_the_names_that_their_json_has() -> None:
    networks = json.loads(pixelwise("models", "--json")[1])["models"]
    assert {each["name"] for each in networks} == set(catalog.SYSTEMS)
    words = set(pixelwise("models")[1].replace(",", " ").split())
    assert not {each["name"] for each in networks} - words
    weights = json.loads(pixelwise("weights", "--json")[1])
    text = pixelwise("weights")[1]
    assert not [each["name"] for each in weights if each["name"] not in text]


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in pixelwise("train", "unett", "--data", "x", "--debug")[1]


def test_the_version_names_what_a_bug_report_needs() -> None:
    status, said = pixelwise("--version")
    lines = said.splitlines()
    assert status == 0
    assert lines[0] == f"pixelwise {__version__}"
    assert f"torch {torch.__version__}" in lines
    assert any(line.startswith("Python 3.") for line in lines)
