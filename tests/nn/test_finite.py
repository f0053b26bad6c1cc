"""A number that is not finite is found wherever it is, and a sum that overflows is no such number."""

from __future__ import annotations

import pytest
import torch

from pixelwise.errors import NotFinite
from pixelwise.nn.finite import check_answer

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_number_is_found(dtype: torch.dtype, bad: float) -> None:
    answer = torch.randn(2, 5, 17, 19).to(dtype).to(memory_format=torch.channels_last)
    assert check_answer({"logits": (answer, torch.arange(3))})["logits"][0] is answer
    answer[1, 4, 16, 18] = bad
    with pytest.raises(NotFinite):
        check_answer({"logits": (answer, torch.arange(3))})
    answer[0, 0, 0, 0] = -bad  # infinities of both signs must not cancel
    with pytest.raises(NotFinite):
        check_answer([answer])


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_numbers_are_finite(dtype: torch.dtype) -> None:
    check_answer(torch.full((1000,), torch.finfo(dtype).max, dtype=dtype))
    check_answer(torch.zeros(0, dtype=dtype))
