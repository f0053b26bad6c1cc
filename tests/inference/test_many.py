"""A bad picture does not stop the others, and nothing that stands is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelwise.errors import UserError
from pixelwise.inference.many import complain, each, refuse_to_overwrite, write_rows


def test_a_bad_one_stops_none_and_is_named() -> None:
    files = [Path(name) for name in "abcd"]
    seen: list[str] = []
    progress: list[float] = []

    def work(number: int, file: Path) -> None:
        assert files[number] == file
        if file.name == "b":
            raise UserError("b: spoilt.")
        seen.append(file.name)

    failed = each(files, work, progress.append)
    assert seen == ["a", "c", "d"]
    assert progress == [0.25, 0.5, 0.75, 1.0]
    with pytest.raises(UserError, match=r"(?s)^3 of 4 pictures .*b: spoilt\.$"):
        complain(failed, len(files))
    complain([], len(files))


def test_a_defect_of_ours_is_not_taken_for_a_bad_picture() -> None:
    def work(number: int, file: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        each([Path("a")], work, lambda done: None)


def test_what_stands_is_not_overwritten(tmp_path: Path) -> None:
    table = tmp_path / "new" / "table.csv"
    refuse_to_overwrite([table])
    write_rows(table, ("a", "b"), [(1, "x, y"), (2, "z")])
    assert table.read_text() == 'a,b\n1,"x, y"\n2,z\n'
    with pytest.raises(UserError, match=r"table\.csv: exists already"):
        refuse_to_overwrite([tmp_path / "other", table])
