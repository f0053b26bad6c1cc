"""Constructors of a family: what they fix, what they leave open, and what they say of themselves."""

from __future__ import annotations

import inspect

import pytest
from torch import nn

from pixelwise.catalog import SYSTEMS, option_names
from pixelwise.models.variant import variant


class Family(nn.Module):
    def __init__(self, *, depth: int, width: int = 8, bias: bool = True) -> None:
        super().__init__()
        self.settings = (depth, width, bias)


def test_fixed_options_are_set_and_others_stay_open() -> None:
    deep = variant("deep", Family, "Nine layers.", depth=9, defaults={"width": 4})
    assert deep().settings == (9, 4, True)
    assert deep(width=2, bias=False).settings == (9, 2, False)
    found = inspect.signature(deep)
    assert [(each.name, each.default) for each in found.parameters.values()] == [("width", 4), ("bias", True)]
    assert {each.kind for each in found.parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert found.return_annotation is Family
    assert (deep.__name__, deep.__doc__) == ("deep", "Nine layers.")
    with pytest.raises(TypeError, match="depth"):
        deep(depth=2)
    with pytest.raises(TypeError, match="colour"):
        deep(colour=2)
    with pytest.raises(AssertionError, match="colour is not an option of Family"):
        variant("odd", Family, "", colour=2)


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (("fcn8s", "fcn16s", "fcn32s"), ["num_classes", "in_channels", "width", "dropout", "weights"]),
        (tuple(name for name in SYSTEMS if name.startswith("vgg")), ["in_channels", "num_classes", "width"]),
        (
            ("overfeat_fast", "overfeat_accurate", "overfeat_small"),
            ["num_classes", "in_channels", "width", "regression", "per_class", "valid", "dropout"],
        ),
    ],
)
def test_families_show_their_options_and_state_their_figures(names: tuple[str, ...], options: list[str]) -> None:
    for name in names:
        assert option_names(name) == options
        assert "parameters" in (SYSTEMS[name].build.__doc__ or "")
        assert SYSTEMS[name].build.__name__ == name
