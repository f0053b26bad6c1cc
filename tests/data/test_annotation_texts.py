"""Annotation files in other encodings: read by their marks, guessed with a word to judge by, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from annotation_files import coco_file, findings, labelme_file, masks, pictures, shape

from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.texts import Encodings, files_with, head
from pixelwise.errors import UserError

MARKED = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be")
WORDS = {
    "gb18030": ("裂缝", "路面裂缝", "类别：裂缝", "汽车 car"),
    "cp1252": ("Müll", "Größe", "für Öl", "crème brûlée", "São João"),
}


def read(file: Path, content: bytes) -> tuple[str, list[str]]:
    file.write_bytes(content)
    encodings = Encodings()
    return encodings.read(file, file.name), encodings.guesses()


@pytest.mark.parametrize("encoding", MARKED)
@pytest.mark.parametrize("word", ["cat", "裂缝", "Müll"])
def test_marks_and_zeros_tell_the_encoding(tmp_path: Path, encoding: str, word: str) -> None:
    text = f'{{"shapes": "{word}"}}'
    assert read(tmp_path / "x.json", text.encode(encoding)) == (text, [])
    assert files_with([tmp_path / "x.json"], ["shapes"]) == [tmp_path / "x.json"]
    assert files_with([tmp_path / "x.json"], ["images"]) == []
    assert head(tmp_path / "x.json") == text


@pytest.mark.parametrize(("encoding", "word"), [(encoding, word) for encoding in WORDS for word in WORDS[encoding]])
def test_other_encodings_are_guessed_and_told(tmp_path: Path, encoding: str, word: str) -> None:
    text = f'{{"label": "{word}", "ids": [1, 2]}}'
    found, guesses = read(tmp_path / "x.json", text.encode(encoding))
    assert found == text
    (said,) = guesses
    assert encoding in said
    assert any(part in said for part in word.split() if not part.isascii())


@pytest.mark.parametrize(
    "content",
    [
        '{"label": "路面裂缝"}'.encode()[:22] + b'"}',  # UTF-8, of which a character is cut off
        '["é", "è", "'.encode() + b'\xff"]',
        b'\xff\xfe{\x00"',  # UTF-16, cut off
        b'{"label": "\x81\x20"}',  # neither GB18030 nor cp1252
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match=r"x\.json: not UTF-\d+ text \(byte \d+ does not fit\)"):
        read(tmp_path / "x.json", content)


@pytest.mark.parametrize("encoding", [*MARKED, "cp1252"])
@pytest.mark.parametrize("layout", ["coco", "labelme", "rle_csv"])
def test_every_layout_reads_them(tmp_path: Path, layout: str, encoding: str) -> None:
    pictures(tmp_path, "a", "b")
    if layout == "coco":
        content = coco_file(categories=[{"id": 3, "name": "Müll"}, {"id": 90, "name": "Öl"}])
        (tmp_path / "x.json").write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    elif layout == "labelme":
        for name in "ab":
            content = labelme_file(shape("Müll", "rectangle", (1, 1), (3, 3)), picture=f"{name}.png")
            (tmp_path / f"{name}.json").write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    else:
        (tmp_path / "x.csv").write_bytes("id;class;rle\r\na;Müll;1 2\r\nb;Müll;3 4\r\n".encode(encoding))
    dataset = open_dataset(tmp_path)
    assert dataset.layout == layout
    assert "Müll" in dataset.class_names
    assert masks(dataset)["a"].any()
    assert ("guess" in findings(tmp_path)) == (encoding == "cp1252")


@pytest.mark.parametrize("content", ["[" * 5000, "[1" + "0" * 5000 + "]", '{"shapes": [', ""])
def test_what_is_no_json_is_a_fault(tmp_path: Path, content: str) -> None:
    pictures(tmp_path, "a", "b", "c")
    for name in "ab":
        (tmp_path / f"{name}.json").write_text(json.dumps(labelme_file(picture=f"{name}.png")))
    (tmp_path / "c.json").write_text('{"shapes": 1}' if not content else f'{{"imagePath": {content}')
    with pytest.raises(UserError, match=r"c\.json: "):
        open_dataset(tmp_path)
    assert "c.json" in findings(tmp_path)["text-file"].sentence
