"""The fully connected CRF, which links every pixel to every other by distance and by similarity of colour.

Krähenbühl & Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NeurIPS 2011. The
updates converge; they follow Krähenbühl & Koltun, Parameter Learning and Convergent Inference for Dense Random Fields,
ICML 2013.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.nn.permutohedral import Permutohedral

Filter = Callable[[Tensor], Tensor]
"""(P, K) values of pixels -> (P, K): for each pixel i the sum over all pixels j of k(i, j) values_j, with k(i, i) = 1.
The matrix k is symmetric and positive semi-definite."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A filter K, normalised as w D^-1/2 K D^-1/2 with the row sums D of K; the result is symmetric too.

    The normalisation gives the weight the same meaning for wide and for narrow kernels: with Potts compatibility it is
    about the number of logits that a pixel gains from neighbours that all agree.

    Attributes:
        filter: K.
        weight: w.
        root: (P, 1) D^-1/2.
    """

    filter: Filter
    weight: float
    root: Tensor

    @classmethod
    def normalised(cls, filter: Filter, weight: float, pixels: int, device: torch.device) -> Kernel:
        sums = filter(torch.ones(pixels, 1, device=device))
        return cls(filter, weight, sums.clamp_min(1).rsqrt())  # at least 1, because k(i, i) = 1

    def __call__(self, values: Tensor) -> Tensor:
        """(P, K) -> (P, K)."""
        return self.filter(values * self.root) * (self.root * self.weight)

    @property
    def own(self) -> Tensor:
        """(P, 1), the factor of a pixel's own value in `__call__`."""
        return self.root**2 * self.weight


class SpatialGaussian:
    """The kernel exp(-|p_i - p_j|^2 / (2 std^2)) over the pixels of a picture, applied along rows and then columns.

    The taps are the autocorrelation of a truncated Gaussian of std / sqrt(2), so that the matrix stays positive
    semi-definite in spite of the truncation.
    """

    def __init__(self, height: int, width: int, std: float, device: torch.device) -> None:
        radius = math.ceil(3 * std)
        half = torch.exp(-(torch.arange(-radius, radius + 1.0, dtype=torch.float64) ** 2) / std**2)
        taps = F.conv1d(half[None, None], half[None, None], padding=2 * radius).flatten()
        self._reach = 2 * radius
        taps = (taps / taps.max()).float().to(device)
        # Row i of a block holds the weights of rows i to i + 2 reach of the block with its surroundings.
        self._block = torch.zeros(BLOCK, BLOCK + 2 * self._reach, device=device)
        for i in range(BLOCK):
            self._block[i, i : i + len(taps)] = taps
        self._size = (height, width)

    def __call__(self, values: Tensor) -> Tensor:
        height, width = self._size
        classes = values.shape[1]
        down = self._along_first(values.view(height, width * classes)).view(height, width, classes)
        across = self._along_first(down.transpose(0, 1).reshape(width, height * classes))
        return across.view(width, height, classes).transpose(0, 1).reshape(-1, classes)

    def _along_first(self, values: Tensor) -> Tensor:
        """(n, m) -> (n, m), by products of dense blocks, which are ten times as fast as a one-channel convolution."""
        padded = F.pad(values, (0, 0, self._reach, self._reach))
        parts = [padded[start : start + BLOCK + 2 * self._reach] for start in range(0, len(values), BLOCK)]
        sizes = [min(BLOCK, len(values) - start) for start in range(0, len(values), BLOCK)]
        return torch.cat([self._block[:n, : len(part)] @ part for n, part in zip(sizes, parts, strict=True)])


BLOCK = 64


class BruteForce:
    """The kernel exp(-|f_i - f_j|^2 / 2) for features (P, d) as a full matrix (P, P), for small pictures."""

    def __init__(self, features: Tensor) -> None:
        self._matrix = torch.exp(-(torch.cdist(features.double(), features.double()) ** 2) / 2)

    def __call__(self, values: Tensor) -> Tensor:
        return (self._matrix @ values.double()).to(values.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseCRF:
    """Aligns labels with the edges of a picture: unary terms come from a network, pairwise terms from two kernels.

    The pairwise energy (equation 3) of two pixels with different labels (Potts) is the sum of

    - bilateral: bilateral_weight exp(-|p_i - p_j|^2 / (2 bilateral_std^2) - |I_i - I_j|^2 / (2 colour_std^2)),
    - gaussian: gaussian_weight exp(-|p_i - p_j|^2 / (2 gaussian_std^2)),

    with p in pixels and I in grey levels 0..255. Each kernel is normalised as in `Kernel`. Inference is by mean field:
    among the distributions that are products over pixels, it looks for the nearest in KL divergence (section 3).

    The spatial kernel is computed directly, the bilateral one on a permutohedral lattice; both take time linear in the
    number of pixels.

    Args:
        iterations: number of updates of mean field.
        exact: compute the kernels by their definition; time and memory grow with the square of the number of pixels.
    """

    gaussian_weight: float = 0.5
    gaussian_std: float = 3.0
    bilateral_weight: float = 1.0
    bilateral_std: float = 50.0
    colour_std: float = 10.0
    iterations: int = 10
    exact: bool = False

    def __call__(self, image: Tensor, probabilities: Tensor) -> Tensor:
        """The marginals after all iterations.

        Args:
            image: (H, W, C), values 0..255.
            probabilities: (K, H, W), of the network.

        Returns:
            (K, H, W) float32, summing to 1 over the classes.

        Raises:
            ValueError: the sizes of picture and probabilities differ.
        """
        if image.shape[:2] != probabilities.shape[1:]:
            raise ValueError(
                f"the picture is {tuple(image.shape[:2])}, but the probabilities are {tuple(probabilities.shape[1:])}"
            )
        unary = unary_of(probabilities)
        *_, log_q = F.log_softmax(-unary, 1), *mean_field(unary, self.kernels(image), self.iterations)
        return log_q.exp().T.reshape(probabilities.shape)

    def kernels(self, image: Tensor) -> list[Kernel]:
        """The kernels for a picture (H, W, C), without those of weight 0."""
        height, width = image.shape[:2]
        device = image.device
        rows = torch.arange(float(height), device=device)[:, None].expand(height, width)
        columns = torch.arange(float(width), device=device)[None, :].expand(height, width)
        positions = torch.stack([rows, columns], -1).view(-1, 2)
        colours = image.reshape(height * width, -1).float()
        features = torch.cat([positions / self.bilateral_std, colours / self.colour_std], 1)
        filters: list[tuple[Filter, float]] = []
        if self.gaussian_weight:
            near: Filter = (
                BruteForce(positions / self.gaussian_std)
                if self.exact
                else SpatialGaussian(height, width, self.gaussian_std, device)
            )
            filters.append((near, self.gaussian_weight))
        if self.bilateral_weight:
            filters.append((BruteForce(features) if self.exact else Permutohedral(features), self.bilateral_weight))
        return [Kernel.normalised(filter, weight, height * width, device) for filter, weight in filters]


def unary_of(probabilities: Tensor) -> Tensor:
    """(K, H, W) probabilities -> (H W, K) energies -ln p."""
    flat = probabilities.float().flatten(1).T
    return -flat.clamp_min(torch.finfo(torch.float32).tiny).log()


def mean_field(unary: Tensor, kernels: Sequence[Kernel], iterations: int) -> Iterator[Tensor]:
    """Yields the logarithm (P, K) of the marginals after each update.

    All pixels are updated at once. The paper's parallel update, Q_i = softmax(-u_i + m_i) with the message m_i from the
    other pixels, need not lower the energy: a kernel without its diagonal is indefinite, so two pixels can oscillate.
    The energy is therefore split. With the diagonal, the pairwise part is concave, because the kernels are positive
    semi-definite, and lies below its tangent. The term that the diagonal added, c_i |Q_i|^2 / 2, lies below its tangent
    plus c_i KL(Q_i, old Q_i), because |p - q|_2 <= |p - q|_1 and by Pinsker's inequality. The minimum of the sum is

        Q_i = softmax((-u_i + m_i + c_i ln old Q_i) / (1 + c_i)).

    This is the paper's update, damped if a pixel's own share c_i in its neighbourhood is large. It never raises the
    energy and has the same fixed points.

    Args:
        unary: (P, K) energies.
    """
    log_q = F.log_softmax(-unary, 1)
    own = sum((kernel.own for kernel in kernels), start=torch.zeros_like(unary[:, :1]))
    for _ in range(iterations):
        q = log_q.exp()
        message = sum((kernel(q) for kernel in kernels), start=-own * q)
        log_q = F.log_softmax((message - unary + own * log_q) / (1 + own), 1)
        yield log_q


def energy(log_q: Tensor, unary: Tensor, kernels: Sequence[Kernel]) -> float:
    """KL(Q, P) up to a constant (equation 6): the sum of Q (ln Q + u) minus half of Q_i k(i, j) Q_j over pairs i != j.

    Args:
        log_q: (P, K).
        unary: (P, K).
    """
    q = log_q.double().exp()
    single = (q * (log_q + unary)).sum()
    message = sum((kernel(q.float()) for kernel in kernels), start=torch.zeros_like(unary))
    own = sum((kernel.own for kernel in kernels), start=torch.zeros_like(unary[:, :1]))
    return float(single - ((message - own * q) * q).sum() / 2)
