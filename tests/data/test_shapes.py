"""Shapes become pixels by one rule, small ones stay on top, and what cannot be of the picture is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.measure import points_in_poly

from pixelwise.data import rle
from pixelwise.data.oddities import oddities
from pixelwise.data.record import Record
from pixelwise.data.regions import (
    Box,
    Broken,
    Disc,
    Pairs,
    Parts,
    Patch,
    Polygons,
    Region,
    RunLengths,
    content,
    fill,
)
from pixelwise.data.sample import VOID
from pixelwise.data.shapes import Drawing, Shape, ShapeCoding
from pixelwise.errors import UserError

RECORD = Record("x", Path("x.png"), (Path("shapes.json"),))


def polygon(*corners: tuple[float, float]) -> Polygons:
    return Polygons(((np.array(corners, float),),))


def box(x0: float, y0: float, x1: float, y1: float) -> Polygons:
    return polygon((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def drawn(region: Region, height: int, width: int) -> np.ndarray:
    patch = region.draw(height, width)
    whole = np.zeros((height, width), bool)
    whole[patch.window] = patch.mask
    return whole


def coding(*shapes: Shape, size: tuple[int, int] | None = None) -> ShapeCoding:
    return ShapeCoding({"x": Drawing(Path("shapes.json"), shapes, size)})


class TestFill:
    def test_is_the_even_odd_rule_at_the_centres(self) -> None:
        """Against scikit-image's test of points, for rings that cross themselves and reach beyond the picture."""
        rng = np.random.default_rng(0)
        centres = np.stack(np.meshgrid(np.arange(24) + 0.5, np.arange(17) + 0.5), axis=-1).reshape(-1, 2)
        for corners in rng.integers(3, 12, 60).tolist():
            ring = rng.uniform(-6, 30, (corners, 2))
            expected = points_in_poly(centres, ring).reshape(17, 24)
            np.testing.assert_array_equal(fill([ring], 17, 24), expected)
            np.testing.assert_array_equal(drawn(Polygons(((ring,),)), 17, 24), expected)

    def test_shared_edges_leave_no_gap_and_no_overlap(self) -> None:
        rng = np.random.default_rng(1)
        for _ in range(50):
            middle = rng.integers(0, 41, 2) / 2  # often exactly on centres
            around = [np.array(corner, float) for corner in ((-3, -3), (23, -3), (23, 23), (-3, 23))]
            covered = [
                fill([np.stack([middle, around[side], around[(side + 1) % 4]])], 20, 20).astype(int)
                for side in range(4)
            ]
            assert (sum(covered) == 1).all()

    def test_neither_the_first_corner_nor_the_direction_matters(self) -> None:
        ring = np.random.default_rng(2).integers(0, 21, (9, 2)) / 2
        expected = fill([ring], 10, 10)
        for turn in range(9):
            np.testing.assert_array_equal(fill([np.roll(ring, turn, axis=0)], 10, 10), expected)
            np.testing.assert_array_equal(fill([np.roll(ring, turn, axis=0)[::-1]], 10, 10), expected)

    def test_edges_of_pixels_enclose_exactly_these(self) -> None:
        mask = np.zeros((6, 7), bool)
        mask[1:4, 2:6] = True
        np.testing.assert_array_equal(drawn(box(2, 1, 6, 4), 6, 7), mask)

    def test_a_centre_on_the_outline_belongs_to_what_lies_right_and_below(self) -> None:
        np.testing.assert_array_equal(np.argwhere(drawn(box(1.5, 1.5, 3.5, 2.5), 5, 5)), [[1, 1], [1, 2]])


class TestRegions:
    def test_rings_within_a_ring_are_holes_and_polygons_are_united(self) -> None:
        outer, hole = box(0, 0, 6, 6).polygons[0][0], box(2, 2, 4, 4).polygons[0][0]
        mask = drawn(Polygons(((outer, hole), (box(3, 3, 8, 4).polygons[0][0],))), 6, 8)
        expected = np.zeros((6, 8), bool)
        expected[:, :6] = True
        expected[2:4, 2:4] = False
        expected[3, 3:] = True
        np.testing.assert_array_equal(mask, expected)

    @pytest.mark.parametrize("region", [box(-9, -9, -1, -1), box(90, 0, 95, 5), box(0, 90, 5, 95), Disc(-50, -50, 3)])
    def test_what_lies_outside_is_cut_off(self, region: Region) -> None:
        assert not drawn(region, 6, 8).any()

    def test_a_disc_holds_the_centres_within_its_radius(self) -> None:
        ys, xs = np.mgrid[:9, :12] + 0.5
        for x, y, radius in ((5, 4, 3), (0.2, 8.7, 4.4), (6.5, 4.5, 0.1), (3, 3, 40)):
            np.testing.assert_array_equal(drawn(Disc(x, y, radius), 9, 12), np.hypot(xs - x, ys - y) <= radius)

    def test_runs(self) -> None:
        mask = np.random.default_rng(3).random((5, 9)) < 0.4
        counts = rle.encode(mask)
        along_rows = Pairs(rle.to_pairs(mask.T), "rows")
        regions = (
            Pairs(rle.to_pairs(mask)),
            along_rows,
            RunLengths(counts, (5, 9)),
            RunLengths(rle.compress(counts), (5, 9)),
        )
        for region in regions:
            np.testing.assert_array_equal(drawn(region, 5, 9), mask)

    def test_an_object_in_parts_is_their_union(self) -> None:
        parts = (
            box(1, 1, 3, 3),
            Disc(6, 4, 1.5),
            Patch(0, 5, np.ones((2, 3), bool)),
            box(2, 2, 4, 3),
            box(90, 0, 95, 5),
        )
        expected = np.any([drawn(part, 6, 8) for part in parts], axis=0)
        np.testing.assert_array_equal(drawn(Parts(parts), 6, 8), expected)

    def test_content_is_equal_for_regions_with_the_same_numbers(self) -> None:
        def regions() -> list[Region]:
            ring = box(0, 0, 6, 6).polygons[0][0]
            return [
                box(0, 0, 6, 6),
                box(0, 0, 6, 5),
                Polygons(((ring, ring),)),
                Polygons(((ring,), (ring,))),
                Box(0, 0, 6, 6),
                Disc(0, 0, 6),
                Pairs(np.array([[1, 2]])),
                Pairs(np.array([[1, 2]]), "rows"),
                RunLengths("231", (2, 3)),
                RunLengths("231", (3, 2)),
                Patch(0, 0, np.ones((1, 2), bool)),
                Patch(0, 0, np.ones((2, 1), bool)),
                Parts((box(0, 0, 6, 6),)),
                Broken("why"),
            ]

        contents = list(map(content, regions()))
        assert contents == list(map(content, regions()))
        assert len(set(contents)) == len(contents)


class TestPainting:
    def test_small_stays_on_top_whatever_the_order(self) -> None:
        shapes = [Shape(1, box(0, 0, 8, 8)), Shape(2, box(2, 2, 6, 6)), Shape(3, box(3, 3, 4, 4))]
        masks = [coding(*order).decode_mask(RECORD, 8, 8) for order in (shapes, shapes[::-1])]
        np.testing.assert_array_equal(*masks)
        assert np.bincount(masks[0].ravel()).tolist() == [0, 64 - 16, 16 - 1, 1]

    def test_a_crowd_lies_beneath_and_is_no_object(self) -> None:
        mask, objects = coding(Shape(2, box(0, 0, 8, 2)), Shape(1, box(0, 0, 2, 3), crowd=True)).decode(RECORD, 8, 8)
        assert np.bincount(mask.ravel()).tolist() == [64 - 18, 2, 16]
        assert objects is not None
        assert objects.classes.tolist() == [2]
        assert objects.ignored is not None
        assert objects.ignored.boxes.tolist() == [[0, 0, 2, 3]], "whole, also where the object lies on it"
        assert objects.ignored.crowd is not None
        assert objects.ignored.crowd.tolist() == [True]

    def test_where_no_picture_has_outlines_there_is_no_label_map(self) -> None:
        shapes = (Shape(1, Box(0, 0, 4, 4)), Shape(2, Box(1, 1, 3, 3), difficult=True))
        _, objects = coding(*shapes).decode(RECORD, 8, 8)
        assert objects is not None
        assert objects.ignored is not None
        assert objects.ids is objects.ignored.ids is None
        _, objects = coding(*shapes, Shape(1, box(5, 5, 8, 8))).decode(RECORD, 8, 8)
        assert objects is not None
        assert objects.ids is not None
        assert objects.boxes.tolist() == [[5, 5, 8, 8], [0, 0, 4, 4]]

    def test_difficult_objects_are_labelled_and_apart(self) -> None:
        shapes = (
            Shape(1, box(0, 0, 4, 4)),
            Shape(2, box(1, 1, 3, 3), difficult=True),
            Shape(1, Box(4, 4, 7.5, 8), difficult=True),
            Shape(1, Box(5, 0, 8, 2)),
            Shape(VOID, box(0, 6, 2, 8), difficult=True),
        )
        mask, objects = coding(*shapes).decode(RECORD, 8, 8)
        assert (mask[1:3, 1:3] == 2).all()
        assert objects is not None
        assert objects.ids is not None
        assert objects.ignored is not None
        assert objects.boxes.tolist() == [[0, 0, 4, 4], [5, 0, 8, 2]]
        assert not objects.ids[1:3, 1:3].any()
        assert objects.ignored.boxes.tolist() == [[1, 1, 3, 3], [4, 4, 7.5, 8]]
        assert objects.ignored.classes.tolist() == [2, 1]
        assert objects.ignored.crowd is not None
        assert not objects.ignored.crowd.any()

    def test_objects_are_what_can_be_seen_of_them(self) -> None:
        shapes = (
            Shape(1, box(1, 1, 3, 3)),  # hidden by the next, of the same size
            Shape(2, box(1, 1, 3, 3)),
            Shape(3, box(0, 0, 8, 8)),
            Shape(VOID, box(6, 6, 8, 8)),
            Shape(0, box(0, 7, 2, 8)),
        )
        mask, objects = coding(*shapes).decode(RECORD, 8, 8)
        np.testing.assert_array_equal(mask, coding(*shapes).decode_mask(RECORD, 8, 8))
        assert objects is not None
        assert objects.ids is not None
        assert sorted(objects.classes.tolist()) == [2, 3]
        classes = np.append(0, objects.classes)
        seen = (mask != VOID) & (mask != 0)
        np.testing.assert_array_equal(classes[objects.ids][seen], mask[seen])
        assert not objects.ids[~seen].any()

    def test_without_shapes_all_is_background(self) -> None:
        mask, objects = coding().decode(RECORD, 3, 4)
        assert mask.shape == (3, 4)
        assert not mask.any()
        assert objects is not None
        assert len(objects) == 0

    def test_shapes_that_cover_no_pixel_are_named(self) -> None:
        shapes = (Shape(1, box(0, 0, 2, 2), entry="a"), Shape(1, box(3.6, 3.6, 3.9, 3.9), entry="b"))
        assert oddities(coding(*shapes), RECORD, 8, 8).vanishing == ("b",)

    def test_objects_of_one_pixel_and_objects_that_are_annotated_twice_are_named(self) -> None:
        shapes = (
            Shape(1, box(0, 0, 30, 40), entry="a"),
            Shape(1, box(0, 0, 30, 39), entry="b"),
            Shape(2, box(0, 0, 30, 40), entry="of another class"),
            Shape(1, box(0, 0, 30, 30), entry="smaller"),
            Shape(1, box(50, 50, 51, 51), entry="dot"),
            Shape(1, box(60, 60, 61, 61), crowd=True, entry="crowd"),
        )
        found = oddities(coding(*shapes), RECORD, 80, 80)
        assert found.tiny == ("dot",)
        assert [set(pair.split(" and ")) for pair in found.doubled] == [{"a", "b"}]


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (Pairs(np.array([[60, 9]])), "the run '60 9' lies outside"),
        (RunLengths(np.array([64]), (4, 16)), "is of a picture of 16 x 4, but this picture is 8 x 8"),
        (RunLengths(np.array([63]), (8, 8)), "add up to 63 pixels"),
        (RunLengths("~", (8, 8)), "holds '~'"),
        (Patch(6, 0, np.ones((3, 2), bool)), "rows 6 to 9, but the picture is 8 x 8"),
    ],
)
def test_what_cannot_be_of_the_picture_is_told_with_file_and_entry(region: Region, words: str) -> None:
    with pytest.raises(UserError, match="^shapes.json, shape 7 \\(x.png\\): .*" + words):
        coding(Shape(1, region, entry="shape 7")).decode_mask(RECORD, 8, 8)


def test_another_size_than_the_files_is_told() -> None:
    with pytest.raises(UserError, match=r"x\.png is 9 x 8 in this file, but the picture is 8 x 8"):
        coding(size=(8, 9)).decode_mask(RECORD, 8, 8)


def test_all_faults_of_a_picture_are_told() -> None:
    shapes = (
        Shape(0, Broken("no polygon"), entry="shape 1"),
        Shape(1, box(0, 0, 2, 2), entry="shape 2"),
        Shape(1, RunLengths(np.array([63]), (8, 8)), entry="shape 3"),
    )
    of_another_size = coding(*shapes, size=(8, 9))
    assert [fault.split(": ")[0] for fault in of_another_size.faults(RECORD, (8, 8))] == [
        "shapes.json",
        "shapes.json, shape 1 (x.png)",
        "shapes.json, shape 3 (x.png)",
    ]
    assert of_another_size.faults(RECORD, None) == ["shapes.json, shape 1 (x.png): no polygon"]
    assert coding(shapes[1]).faults(RECORD, (8, 8)) == []


def test_the_exif_orientation_is_named_where_it_is_the_reason(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (9, 4)).save(tmp_path / "turned.jpg", exif=exif.tobytes())
    Image.new("RGB", (4, 9)).save(tmp_path / "upright.jpg")
    for name, told in (("turned", True), ("upright", False)):
        record = Record("x", tmp_path / f"{name}.jpg", (Path("shapes.json"),))
        (fault,) = coding(size=(4, 9)).faults(record, (9, 4))
        assert ("EXIF orientation" in fault) == told
        with pytest.raises(UserError, match="EXIF" if told else "another version"):
            coding(size=(4, 9)).decode_mask(record, 9, 4)
