"""Coloured quads: what every thing in the world is built of.

A thing is a few convex parts (boxes and tapered boxes) with decals painted on their faces. Its own frame
is x forward, y left, z up, on the ground under its middle.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tggbc_ros.core.types import Array

Color = tuple[float, float, float]
Rect = tuple[float, float, float, float]

FRONT, LEFT, BACK, RIGHT = range(4)


@dataclass(frozen=True, eq=False)
class Mesh:
    """F quads, counter-clockwise seen from outside.

    quads: [F, 4, 3], metres. color: [F, 3], BGR, 0 to 255. center: [F, 3], middle of the face's part.
    layer: [F]; parts are painted in this order, within a layer the farthest first.
    """

    quads: Array
    color: Array
    center: Array
    layer: npt.NDArray[np.int64]

    @property
    def normals(self) -> Array:
        """[F, 3], unit length, outward."""
        normal = np.cross(self.quads[:, 2] - self.quads[:, 0], self.quads[:, 3] - self.quads[:, 1])
        return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12))


def side(center: float, width: float) -> tuple[float, float]:
    """An interval by its middle and width."""
    return center - width / 2, center + width / 2


@dataclass
class MeshBuilder:
    """Collects parts; `build` gives the mesh."""

    _quads: list[Array] = field(default_factory=list)
    _colors: list[Color] = field(default_factory=list)
    _centers: list[Array] = field(default_factory=list)
    _layers: list[int] = field(default_factory=list)

    def block(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        z: tuple[float, float],
        color: Color,
        layer: int = 0,
        top_x: tuple[float, float] | None = None,
        top_y: tuple[float, float] | None = None,
        sides: Color | None = None,
    ) -> int:
        """A box between the intervals ``x``, ``y``, ``z``, tapered to ``top_x``, ``top_y``; returns its first face.

        ``sides`` colours the four walls where they differ from the top.
        """
        low, high = _ring(x, y, z[0]), _ring(top_x or x, top_y or y, z[1])
        first = len(self._quads)
        center = np.concatenate([low, high]).mean(axis=0)
        for k in range(4):
            n = (k + 1) % 4
            self._add(np.stack([low[k], low[n], high[n], high[k]]), sides or color, center, layer)
        self._add(high, color, center, layer)
        return first

    def decal(self, first: int, face: int, rect: Rect, color: Color) -> None:
        """Paint (u0, u1, v0, v1) of a part's face; 0..1 spans the face, u to the right seen from outside, v up."""
        quad = self._quads[first + face]
        u0, u1, v0, v1 = rect
        corners = [_bilinear(quad, u, v) for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))]
        self._add(np.stack(corners), color, self._centers[first], self._layers[first])

    def wheel(self, x: float, y: tuple[float, float], radius: float, layer: int = 0) -> None:
        """An upright hexagonal wheel standing on the ground, rolling along x."""
        tyre, wide, narrow = (38.0, 36.0, 35.0), (x - radius, x + radius), (x - radius / 2, x + radius / 2)
        for z, bottom, top in (((0.0, radius), narrow, wide), ((radius, 2 * radius), wide, narrow)):
            first = self.block(bottom, y, z, tyre, layer, top_x=top)
            rows = (0.45, 1.0) if z[0] == 0.0 else (0.0, 0.55)
            for face in (LEFT, RIGHT):
                self.decal(first, face, (0.3, 0.7, *rows), (150.0, 150.0, 150.0))

    def build(self) -> Mesh:
        """The finished mesh."""
        return Mesh(np.stack(self._quads), np.array(self._colors), np.stack(self._centers), np.array(self._layers))

    def _add(self, quad: Array, color: Color, center: Array, layer: int) -> None:
        self._quads.append(quad)
        self._colors.append(color)
        self._centers.append(center)
        self._layers.append(layer)


def _ring(x: tuple[float, float], y: tuple[float, float], z: float) -> Array:
    """Corners [4, 3] counter-clockwise from above, from the front right."""
    return np.array([[x[1], y[0], z], [x[1], y[1], z], [x[0], y[1], z], [x[0], y[0], z]])


def _bilinear(quad: Array, u: float, v: float) -> Array:
    low = quad[0] + u * (quad[1] - quad[0])
    high = quad[3] + u * (quad[2] - quad[3])
    return np.asarray(low + v * (high - low))
