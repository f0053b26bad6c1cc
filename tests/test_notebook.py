"""What objects show in a notebook: well-formed HTML with their picture and their numbers."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from pixelwise import api, notebook
from pixelwise.data.doctor import examine
from pixelwise.data.formats import open_dataset
from pixelwise.tasks.classify.inference import ClassPrediction
from pixelwise.tasks.objects.inference import ObjectPrediction
from pixelwise.training.run import Run


def parsed(html: str) -> ElementTree.Element:
    """The HTML, if it is well-formed; images have no end tag there."""
    plain = html.encode().decode()  # no Markup, which would be escaped
    closed = re.sub("(<img [^>]*)>", r"\1/>", plain)
    return ElementTree.fromstring(f"<div>{closed}</div>")


def images(html: str) -> list[Image.Image]:
    found = re.findall(r"data:image/jpeg;base64,([^\"]+)", html)
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in found]


def test_a_table_escapes_and_says_what_it_leaves_out() -> None:
    tree = parsed(notebook.table(("name", "<b>"), [(f"a & b {number}", "<script>") for number in range(30)]))
    rows = tree.findall("table/tr")
    assert len(rows) == 1 + notebook.MAX_ROWS + 1
    assert [cell.text for cell in rows[1]] == ["a & b 0", "<script>"]
    assert rows[-1].findtext("td") == "and 10 more"


def test_a_large_picture_is_reduced() -> None:
    html = notebook.picture(np.zeros((100, 2000, 3), np.uint8), 'a "quoted" name')
    (image,) = images(html)
    assert image.size == (notebook.LONGEST, 32)
    assert parsed(html).find("img").get("alt") == 'a "quoted" name'  # type: ignore[union-attr]


def test_a_dataset_shows_its_splits_and_pictures(scenes_folder: Path) -> None:
    html = open_dataset(scenes_folder)._repr_html_()
    tree = parsed(html)
    assert [[cell.text for cell in row] for row in tree.findall("table/tr")][1:] == [["train", "8"], ["val", "4"]]
    (image,) = images(html)
    assert image.width > image.height


def test_a_diagnosis_shows_its_findings(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        for folder, value in (("images", 90), ("masks", 1)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(np.full((20, 20), value, np.uint8)).save(tmp_path / folder / f"{name}.png")
    (tmp_path / "masks" / "c.png").write_bytes(b"broken")
    diagnosis = examine(tmp_path)
    tree = parsed(diagnosis._repr_html_())
    rows = tree.findall("table/tr")[1:]
    assert len(rows) == len(diagnosis.findings) > 0
    assert [row[0].text for row in rows] == [finding.severity for finding in diagnosis.findings]


def test_a_run_and_its_predictions_show_themselves(scenes_folder: Path, tmp_path: Path) -> None:
    tiny = {"model.width": 4, "model.encoder": None, "augment.crop": [32, 48], "train.batch_size": 2}
    run = api.train("unet", data=scenes_folder, epochs=1, out=tmp_path / "run", overrides=tiny)
    tree = parsed(run._repr_html_())
    shown = {row[0].text: row[1].text for row in tree.findall("table/tr")}
    assert shown["mean_iou"] == f"{run.metrics['mean_iou']:.4g}"
    prediction = api.load(run.path)(np.zeros((40, 50, 3), np.uint8))
    (image,) = images(prediction._repr_html_())
    assert image.size == (50, 40)
    assert (
        parsed(Run(tmp_path / "other")._repr_html_())
        .findtext("p", "")
        .startswith(f"{tmp_path / 'other'}: not finished")
    )


def test_predictions_without_positions_are_a_table() -> None:
    names = ("cat", "dog")
    tree = parsed(ClassPrediction(np.array([0.25, 0.75], np.float32), names)._repr_html_())
    assert [[cell.text for cell in row] for row in tree.findall("table/tr")][1] == ["dog", "0.750"]
    found = ObjectPrediction(
        np.array([[1, 2, 5, 9]], np.float32),
        np.array([1]),
        np.array([0.5], np.float32),
        names,
        np.zeros((9, 9, 3), np.uint8),
    )
    html = found._repr_html_()
    assert len(images(html)) == 1
    assert [cell.text for cell in parsed(html).findall("table/tr")[0]] == list(found.columns)
