"""Pictures recognised by their content, and folders that appear when they are complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelwise.atomic import new_folder
from pixelwise.data import same_pictures
from pixelwise.data.record import Record
from pixelwise.data.same_pictures import SamePictures


def test_each_picture_of_the_set_is_read_once_even_if_all_have_one_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / f"{number}.bmp" for number in range(20)]
    for number, file in enumerate(files):
        file.write_bytes(bytes([number % 12]) * 10)  # the last eight repeat the first eight
    (tmp_path / "long.bmp").write_bytes(b"x" * 11)
    records = [Record(file.stem, file) for file in [*files, tmp_path / "long.bmp"]]
    read: list[str] = []
    original = same_pictures._digest
    monkeypatch.setattr(same_pictures, "_digest", lambda record: read.append(record.name) or original(record))
    known = SamePictures(records[:12])
    assert [record.name for record in records[12:] if record in known] == [str(number) for number in range(12, 20)]
    assert sorted(read, key=int) == [str(number) for number in range(20)], "a file of another size is not read"


def test_a_new_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "out"

    def fail_halfway() -> None:
        with new_folder(final) as partial:
            (partial / "a").write_text("half")
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        fail_halfway()
    assert list(final.parent.iterdir()) == []
    with new_folder(final) as partial:
        (partial / "a").write_text("whole")
        assert not final.exists()
    assert (final / "a").read_text() == "whole"
    assert list(final.parent.iterdir()) == [final]
