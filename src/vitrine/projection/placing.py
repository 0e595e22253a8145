"""Where new points fall on an old map, which stays as it is.

A new point y wants to be near its neighbours x_j among the old ones, and not where it is crowded. t-SNE for this one
point, with the weights p_j of its neighbours as t-SNE has them, is the least of

    sum_j p_j log(1 + |y - x_j|^2) + log Z(y),    Z(y) = sum over all old points x of 1 / (1 + |y - x|^2)

Z belongs to the old map alone: it is laid on a grid once (`Ground`), by one convolution, and then a point costs some
milliseconds however many old ones there are. docs/decisions/0007-map.md has it beside openTSNE's `transform`.
"""

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Points = npt.NDArray[np.float32]

K = 15
"""So many neighbours pull at a new point."""

PERPLEXITY = 5.0
"""How many of them count, as openTSNE's `transform` has it."""

_SPACING, _NODES = 0.5, 600  # of the grid: on the map's scale, at most so many a side
_MARGIN = 4.0  # of the grid round the map
_STEPS, _LONGEST = 40, 2.0  # of a point on its way, and how far one may go
_BLOCK = 1_000  # points at once: (block, k, k) numbers


class Ground:
    """An old map, ready for new points. points: (n, 2) float32."""

    def __init__(self, points: Points) -> None:
        self._points = points.astype(np.float64)
        low, high = self._points.min(axis=0) - _MARGIN, self._points.max(axis=0) + _MARGIN
        self._spacing = max(_SPACING, float((high - low).max()) / _NODES)
        self._low = low
        shape = np.ceil((high - low) / self._spacing).astype(int) + 1
        crowd = _convolved(self._spread(shape), self._spacing)
        self._crowding = np.log(np.maximum(crowd, 1e-9))  # log Z at the nodes
        slopes = [np.gradient(self._crowding, self._spacing, axis=axis) for axis in (0, 1)]
        self._slope = np.stack(slopes, axis=-1)  # (width, height, 2)

    def settle(self, places: Places, distances: npt.NDArray[np.floating]) -> Points:
        """New points (m, 2) float32, from the old points that are their neighbours, (m, k) places on the map, and how
        far these are, (m, k), as embeddings.
        """
        points = np.empty((len(places), 2), np.float32)
        for first in range(0, len(places), _BLOCK):
            part = slice(first, first + _BLOCK)
            points[part] = self._settled(self._points[places[part]], weights(distances[part]))
        return points

    def _settled(self, near: Floats, pull: Floats) -> Floats:
        """near: (m, k, 2), pull: (m, k). Starts at the best of the neighbours, and never ends at worse."""
        rows = np.arange(len(near))
        costs = self._cost(near, near[:, None], pull[:, None])  # (m, k): of being where each neighbour is
        place, best = near[rows, costs.argmin(axis=1)], costs.min(axis=1)
        found = place.copy()
        for step in range(_STEPS):
            weight = pull / (1 + np.square(place[:, None] - near).sum(axis=-1))  # (m, k)
            total = weight.sum(axis=1, keepdims=True)
            drawn = np.einsum("mk,mkd->md", weight, near) - 0.5 * self._at(self._slope, place)
            move = drawn / total - place
            length = np.linalg.norm(move, axis=1, keepdims=True)
            reach = _LONGEST * (1 - step / _STEPS)  # ever shorter, so that it comes to rest
            place = place + move * np.minimum(1, reach / np.maximum(length, 1e-12))
            cost = self._cost(place, near, pull)
            better = cost < best
            found[better], best[better] = place[better], cost[better]
        settled: Floats = found
        return settled

    def _cost(self, places: Floats, near: Floats, pull: Floats) -> Floats:
        """What is to be least: places (..., 2), their neighbours (..., k, 2), the pull of these (..., k)."""
        squares = np.square(places[..., None, :] - near).sum(axis=-1)
        cost: Floats = (pull * np.log1p(squares)).sum(axis=-1) + self._at(self._crowding, places)
        return cost

    def _at(self, grid: Floats, places: Floats) -> Floats:
        """A grid's values between its nodes, linear; outside those of its edge. places: (..., 2)."""
        shape = np.array(self._crowding.shape)
        on = np.clip((places - self._low) / self._spacing, 0, shape - 1.000001)
        node = on.astype(np.int64)
        x, y = node[..., 0], node[..., 1]
        part = on - node
        right, up = (part[..., axis].reshape(part.shape[:-1] + (1,) * (grid.ndim - 2)) for axis in (0, 1))
        below = grid[x, y] * (1 - right) + grid[x + 1, y] * right
        above = grid[x, y + 1] * (1 - right) + grid[x + 1, y + 1] * right
        value: Floats = below * (1 - up) + above * up
        return value

    def _spread(self, shape: npt.NDArray[np.int64]) -> Floats:
        """How many old points there are at each node; one between four nodes is shared among them."""
        on = (self._points - self._low) / self._spacing
        node = on.astype(np.int64)
        part = on - node
        counts = np.zeros(int(shape.prod()))
        for right in (0, 1):
            for up in (0, 1):
                share = np.abs(1 - right - part[:, 0]) * np.abs(1 - up - part[:, 1])
                at = (node[:, 0] + right) * shape[1] + node[:, 1] + up
                counts += np.bincount(at, share, len(counts))
        return counts.reshape(shape)


def weights(distances: npt.NDArray[np.floating]) -> Floats:
    """How much each of the k neighbours counts, (m, k), rows that add up to 1: exp(-b d^2), b such that the perplexity
    is `PERPLEXITY`, or a third of k where that is less; equal where all are equally far.
    """
    squares = np.square(distances.astype(np.float64))
    squares -= squares.min(axis=1, keepdims=True)
    squares /= np.maximum(squares.mean(axis=1, keepdims=True), 1e-12)
    wanted = np.log(max(1.0, min(PERPLEXITY, distances.shape[1] / 3)))
    low, high = np.full((len(squares), 1), -12.0), np.full((len(squares), 1), 12.0)  # of log b
    for _ in range(40):
        middle = (low + high) / 2
        shares = np.exp(-np.exp(middle) * squares)
        shares /= shares.sum(axis=1, keepdims=True)
        entropy = -(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=1, keepdims=True)
        low, high = np.where(entropy > wanted, middle, low), np.where(entropy > wanted, high, middle)
    found: Floats = shares
    return found


def _convolved(counts: Floats, spacing: float) -> Floats:
    """The sum over all nodes of count / (1 + distance^2), at each node: by Fourier, with room for no wrapping round."""
    height, width = counts.shape
    size = [1 << (2 * side - 1).bit_length() for side in (height, width)]
    across, up = (np.minimum(np.arange(side), side - np.arange(side)) * spacing for side in size)
    kernel = 1 / (1 + np.square(across)[:, None] + np.square(up)[None])
    product = np.fft.rfft2(counts, size) * np.fft.rfft2(kernel)
    whole: Floats = np.fft.irfft2(product, size)[:height, :width]
    return whole
