"""What docs/convolution.md says, computed."""

from __future__ import annotations

import re

import pytest
import torch
from pages import DOCS, table_under
from torch import nn

from pixelwise.nn.receptive_field import receptive_field

PAGE = (DOCS / "convolution.md").read_text(encoding="utf-8")


def output_size(n: int, k: int, p: int = 0, s: int = 1, d: int = 1) -> int:
    """The formula as the page has it, character by character."""
    formula = re.search(r"floor\((.+?)\) \+ 1\n", PAGE)
    assert formula is not None
    assert formula.group(1) == "(n + 2 p - d (k - 1) - 1) / s"
    return (n + 2 * p - d * (k - 1) - 1) // s + 1


@pytest.mark.parametrize("row", table_under(PAGE, "## Padding, stride, dilation"), ids=lambda row: row[0])
def test_sizes_of_the_table(row: list[str]) -> None:
    option, _, size = row
    numbers = {name: int(value) for name, value in re.findall(r"(padding|stride|dilation) (\d)", option)}
    layer = nn.Conv2d(1, 1, 3, **numbers)
    height, width = layer(torch.zeros(1, 1, 7, 7)).shape[-2:]
    assert size == f"{height} x {width}"
    keys = {"padding": "p", "stride": "s", "dilation": "d"}
    assert output_size(7, 3, **{keys[name]: value for name, value in numbers.items()}) == height


@pytest.mark.parametrize("row", table_under(PAGE, "## The receptive field"), ids=lambda row: row[0])
def test_receptive_fields_of_the_table(row: list[str]) -> None:
    layers, seen, distance = row
    made: list[nn.Module] = [
        nn.MaxPool2d(2) if "pool" in name else nn.Conv2d(1, 1, 3, padding=1) for name in layers.split(", ")
    ]
    with torch.device("meta"):
        network = nn.Sequential(*made).to("meta")
        side = receptive_field(network, torch.zeros(1, 1, 256, 256))
    assert seen == f"{side} x {side}"
    assert int(distance) == 2 ** layers.count("pool")


def test_the_matrix_is_toeplitz_and_its_transpose_is_the_transposed_convolution() -> None:
    torch.manual_seed(0)
    weights, small = torch.randn(1, 1, 3, 3), torch.randn(1, 1, 2, 2)
    matrix = nn.functional.conv2d(torch.eye(16).view(16, 1, 4, 4), weights).view(16, 4).T
    shift = {0: 0, 1: 1, 2: 4, 3: 5}
    for row, by in shift.items():
        torch.testing.assert_close(matrix[row], torch.roll(matrix[0], by))
    transposed = nn.functional.conv_transpose2d(small, weights)
    torch.testing.assert_close((matrix.T @ small.view(4)).view(4, 4), transposed[0, 0])
