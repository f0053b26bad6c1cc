"""New pictures from generative models: from noise, from a part of a picture, and from the codes of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.data.pictures import convert
from pixelwise.errors import unknown
from pixelwise.inference.forms import check_form
from pixelwise.inference.rasters import open_raster
from pixelwise.nn.finite import check_answer
from pixelwise.tasks.generate.inference import PictureModel, as_pictures
from pixelwise.tasks.sampling import KEPT, SampleRequest

STARTS, STEPS, RATE = 8, 300, 0.05
"""Random codes from which the code of a picture is searched for, steps of Adam, and their learning rate."""


def new_pictures(inference: PictureModel[Any], request: SampleRequest) -> np.ndarray:
    """Pictures from noise, (count, H, W, C)."""
    generator = torch.Generator().manual_seed(request.seed)
    made = check_answer(inference.model.sample(request.count, generator, temperature=request.temperature))
    return as_pictures(made, inference.spec)


def completions(inference: PictureModel[Any], request: SampleRequest) -> np.ndarray:
    """The given picture, as the network sees it, and completions of the part that is kept; (1 + count, H, W, C).

    Raises:
        UserError: a picture that cannot be read, or an unknown part.
    """
    assert request.complete is not None
    model = inference.model
    generator = torch.Generator().manual_seed(request.seed)
    seen = model.discrete(_seen(inference, [request.complete]), generator)
    made = model.sample(
        request.count,
        generator,
        temperature=request.temperature,
        given=seen.expand(request.count, -1, -1, -1),
        keep=kept_part(request.keep, *seen.shape[2:]),
    )
    return as_pictures(torch.cat([seen, made.to(seen)]), inference.spec)


def kept_part(name: str, height: int, width: int) -> Tensor:
    """(H, W) bool: the part of a picture with a name in `KEPT`, or without its ending: `top`.

    Raises:
        UserError: an unknown name.
    """
    name = name if name in KEPT else f"{name}-half"
    if name not in KEPT:
        raise unknown("part to keep", name.removesuffix("-half"), KEPT)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    side = {"top": rows < height // 2, "bottom": rows >= height // 2}
    side |= {"left": columns < width // 2, "right": columns >= width // 2}
    return side[name.removesuffix("-half")].expand(height, width)


def from_codes(inference: PictureModel[Any], request: SampleRequest) -> np.ndarray:
    """Two rows of pictures (2 * N, H, W, C): the given ones and what their codes decode to.

    For an interpolation, the second row leads from the first picture to the second in equal steps between their codes,
    and the first row repeats its ends. For arithmetic, the rows are the pictures A, B, C and a blank one, and the
    decoded codes of A, B, C and A - B + C.

    Raises:
        UserError: a picture that cannot be read.
    """
    files = request.interpolate or request.arithmetic
    assert files is not None
    given = _seen(inference, list(files))
    decode = decoder(inference.model)
    codes = codes_of(inference.model, given, torch.Generator().manual_seed(request.seed))
    spherical = not hasattr(inference.model, "codes")
    with torch.inference_mode():
        if request.interpolate:
            made = decode(between(codes[0], codes[1], request.count, spherical=spherical))
            middle = given.new_full((max(request.count - 2, 0), *given.shape[1:]), inference.model.input_range[1])
            first = torch.cat([given[:1], middle, given[1:]])
        else:
            made = decode(torch.cat([codes, added(codes, spherical=spherical)]))
            first = torch.cat([given, torch.full_like(given[:1], inference.model.input_range[1])])
    return as_pictures(torch.cat([first, made]), inference.spec)


def decoder(model: Any) -> Callable[[Tensor], Tensor]:
    """The function from codes (N, D) to pictures (N, C, H, W) in the range of the network."""
    return (lambda codes: model.decode(codes).sigmoid()) if hasattr(model, "decode") else model


def codes_of(model: Any, images: Tensor, generator: torch.Generator) -> Tensor:
    """The codes (N, D) of pictures (N, C, H, W) in the range of the network.

    A network with an encoder computes them. For a generator without one, they are searched for: from several random
    codes per picture, Adam minimises the squared error of the generated picture, and the best code is kept (Zhu et al.,
    ECCV 2016, arXiv:1609.03552, section 3.1).
    """
    if hasattr(model, "codes"):
        with torch.inference_mode():
            return model.codes(images)
    repeated = images.repeat_interleave(STARTS, 0)
    codes = model.noise(len(repeated), generator).requires_grad_()
    optimizer = torch.optim.Adam([codes], RATE)
    for _ in range(STEPS):
        errors = (model(codes) - repeated).square().flatten(1).mean(1)
        (gradient,) = torch.autograd.grad(errors.sum(), codes)
        codes.grad = gradient
        optimizer.step()
    with torch.no_grad():
        errors = (model(codes) - repeated).square().flatten(1).mean(1).view(-1, STARTS)
        return codes.view(len(images), STARTS, -1)[torch.arange(len(images)), errors.argmin(1)]


def between(first: Tensor, second: Tensor, count: int, *, spherical: bool = False) -> Tensor:
    """Interpolates between two codes (D,) and (D,) -> (count, D).

    Args:
        spherical: along the sphere on which nearly all codes of a Gaussian lie; a straight line passes through its
            empty middle.
    """
    shares = torch.linspace(0, 1, count, device=first.device)[:, None]
    if not spherical:
        return (1 - shares) * first + shares * second
    cosine = F.cosine_similarity(first, second, dim=0)
    angle = torch.arccos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
    return (torch.sin((1 - shares) * angle) * first + torch.sin(shares * angle) * second) / torch.sin(angle)


def added(codes: Tensor, *, spherical: bool = False) -> Tensor:
    """Codes A, B and C (3, D) -> A - B + C (1, D).

    Source: Radford, Metz & Chintala, ICLR 2016, arXiv:1511.06434, section 6.3.2. Each term there is the mean of three
    codes, so that the sum is as long as a code.

    Args:
        spherical: scales the sum to the length of A. A sum of three single codes of a Gaussian is sqrt(3) times as long
            as they are, and a generator was trained on no such codes.
    """
    total = codes[0] - codes[1] + codes[2]
    return (total * (codes[0].norm() / total.norm().clamp_min(1e-12)) if spherical else total)[None]


def _seen(inference: PictureModel[Any], files: Sequence[Path]) -> Tensor:
    prepared = []
    for file in files:
        with open_raster(file) as raster:
            check_form(raster, inference.spec)
            pixels = raster.read(0, raster.height, 0, raster.width)
            prepared.append(inference.prepare(convert(pixels, inference.spec.form, raster.name)))
    return inference.seen(prepared)
