"""The street itself: how wide it is, what is painted on it, and what stands beside it unannotated."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from tggbc_ros.core.types import Array
from tggbc_ros.data.drive.mesh import BACK, FRONT, LEFT, RIGHT, Color, Mesh, MeshBuilder, side
from tggbc_ros.data.drive.path import Path
from tggbc_ros.data.drive.shapes import DARK, GLASS, Size, pick
from tggbc_ros.data.drive.thing import SCENERY, Thing

LANE_M = 3.5
SIDEWALK_M = 3.4
CELL_M = 0.15

FACADES: tuple[Color, ...] = (
    (150.0, 165.0, 180.0),
    (105.0, 125.0, 165.0),
    (165.0, 160.0, 150.0),
    (120.0, 150.0, 190.0),
    (90.0, 95.0, 105.0),
    (185.0, 190.0, 195.0),
)
LEAVES: tuple[Color, ...] = ((50.0, 105.0, 70.0), (45.0, 85.0, 55.0), (60.0, 125.0, 115.0))


@dataclass(frozen=True)
class Road:
    """A street's cross-section, the same on both sides. lanes: per direction. parking_m: strip at the kerb."""

    lanes: int
    parking_m: float

    @property
    def drive_m(self) -> float:
        """Half the width of the driving lanes."""
        return self.lanes * LANE_M

    @property
    def half_m(self) -> float:
        """From the centre line to the kerb."""
        return self.drive_m + self.parking_m

    @property
    def edge_m(self) -> float:
        """From the centre line to the far side of the sidewalk."""
        return self.half_m + SIDEWALK_M


@dataclass(frozen=True, eq=False)
class Streets:
    """The main street (index 0) and what crosses it. places: distances along it where the others cross."""

    paths: tuple[Path, ...]
    roads: tuple[Road, ...]
    places: tuple[float, ...]

    def near_crossing(self, along_m: float, margin_m: float) -> bool:
        """Whether a distance along the main street lies within a crossing, or ``margin_m`` from it."""
        return any(
            abs(along_m - place) < road.half_m + margin_m
            for place, road in zip(self.places, self.roads[1:], strict=True)
        )


@dataclass(frozen=True, eq=False)
class Ground:
    """A picture of the ground from above, [rows (y), columns (x), 3] BGR, fine and four times coarser.

    origin: x, y in metres of the outer corner of cell (0, 0).
    """

    fine: npt.NDArray[np.uint8]
    coarse: npt.NDArray[np.uint8]
    origin: tuple[float, float]


class _Painter:
    """Draws lines along streets on a picture of the ground."""

    def __init__(self, low: Array, high: Array, base: Color) -> None:
        columns, rows = np.ceil((high - low) / CELL_M / 4).astype(int) * 4
        self.picture = np.full((rows, columns, 3), base, np.uint8)
        self.origin = low

    def band(self, path: Path, span: tuple[float, float], left_m: float, width_m: float, color: Color) -> None:
        """A strip of ``width_m`` along a street from ``span[0]`` to ``span[1]``."""
        along = np.linspace(*span, max(2, int((span[1] - span[0]) / 2.0) + 1))
        edges = [path.pose(along, np.full_like(along, left_m + d))[:, :2] for d in (-width_m / 2, width_m / 2)]
        outline = (np.concatenate([edges[0], edges[1][::-1]]) - self.origin) / CELL_M - 0.5
        cv2.fillPoly(self.picture, [np.round(outline * 16).astype(np.int32)], color, cv2.LINE_AA, 4)


def paint_ground(rng: np.random.Generator, streets: Streets, clutter: float) -> Ground:
    """Pavement, asphalt, markings, zebra crossings and stains, as seen from above."""
    corners = np.concatenate([path.xy for path in streets.paths])
    base = pick(rng, ((95.0, 130.0, 115.0), (130.0, 145.0, 150.0), (70.0, 115.0, 95.0)))
    painter = _Painter(corners.min(axis=0) - 30.0, corners.max(axis=0) + 30.0, base)
    pavement = pick(rng, ((160.0, 165.0, 170.0), (140.0, 150.0, 165.0)))
    asphalt = (float(rng.uniform(70, 110)),) * 3
    for path, road in zip(streets.paths, streets.roads, strict=True):
        painter.band(path, (path.start_m, path.end_m), 0.0, 2 * road.edge_m, pavement)
    for path, road in zip(streets.paths, streets.roads, strict=True):
        painter.band(path, (path.start_m, path.end_m), 0.0, 2 * road.half_m, asphalt)
    _paint_markings(painter, streets, rng.random() < 0.4)
    picture = _weather(rng, painter.picture, clutter)
    height, width = picture.shape[:2]
    coarse = cv2.resize(picture, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    return Ground(picture, coarse.astype(np.uint8), (float(painter.origin[0]), float(painter.origin[1])))


def _paint_markings(painter: _Painter, streets: Streets, yellow: bool) -> None:
    white: Color = (215.0, 218.0, 220.0)
    middle: Color = (70.0, 185.0, 215.0) if yellow else white
    main, road = streets.paths[0], streets.roads[0]
    for start in np.arange(main.start_m, main.end_m - 6.0, 6.0):
        if streets.near_crossing(start + 3.0, 5.0):
            continue
        _paint_stretch(painter, main, road, start, middle, white)
    for place, path, other in zip(streets.places, streets.paths[1:], streets.roads[1:], strict=True):
        for sign in (-1, 1):
            far = path.end_m
            span = (road.half_m + 4.0, far) if sign > 0 else (-far, -road.half_m - 4.0)
            painter.band(path, span, 0.0, 0.2, middle)
            _zebra(painter, main, place + sign * (other.half_m + 1.8), road.half_m, white)
            _zebra(painter, path, sign * (road.half_m + 1.8), other.half_m, white)


def _paint_stretch(painter: _Painter, path: Path, road: Road, start: float, middle: Color, white: Color) -> None:
    """Six metres of markings: centre line, dashes between lanes, a line at the edge of the lanes."""
    painter.band(path, (start, start + 6.1), 0.0, 0.22, middle)
    for sign in (-1, 1):
        for lane in range(1, road.lanes):
            painter.band(path, (start, start + 3.0), sign * lane * LANE_M, 0.16, white)
        painter.band(path, (start, start + 6.1), sign * (road.drive_m - 0.05), 0.16, white)


def _zebra(painter: _Painter, path: Path, along_m: float, half_m: float, white: Color) -> None:
    for left in np.arange(-half_m + 0.6, half_m - 0.3, 1.1):
        painter.band(path, (along_m - 1.3, along_m + 1.3), float(left), 0.55, white)


def _weather(rng: np.random.Generator, picture: npt.NDArray[np.uint8], clutter: float) -> npt.NDArray[np.uint8]:
    """Stains at two scales; how strong they are follows ``clutter``."""
    height, width = picture.shape[:2]
    tile = rng.normal(0.0, 3.0 + 6.0 * clutter, (256, 256)).astype(np.float32)
    stain = cv2.resize(rng.normal(0.0, 12.0 * (0.3 + clutter), (32, 32)).astype(np.float32), (256, 256))
    grain = np.tile(tile + stain, (height // 256 + 1, width // 256 + 1))[:height, :width].astype(np.int16)
    return np.asarray(cv2.add(picture, cv2.merge([grain, grain, grain]), dtype=cv2.CV_8U), dtype=np.uint8)


def _building(rng: np.random.Generator, size: Size, detail: float) -> Mesh:
    """A box with rows of windows on the two faces that can be seen from a street."""
    length, width, height = size
    mesh, paint = MeshBuilder(), pick(rng, FACADES)
    wall = mesh.block(side(0, length), side(0, width), (0, height), paint)
    tint = pick(rng, (GLASS, (110.0, 95.0, 80.0)))
    floors = max(1, int(height / 3.2))
    columns = max(1, int(width / rng.uniform(2.0, 5.0) * detail))
    for floor in range(floors):
        low, high = (floor + 0.35) / floors, (floor + 0.8) / floors
        for column in range(columns):
            u0, u1 = (column + 0.18) / columns, (column + 0.82) / columns
            mesh.decal(wall, FRONT, (u0, u1, low, high), tint)
        for face in (LEFT, RIGHT):
            mesh.decal(wall, face, (0.08, 0.92, low, high), tint)
    return mesh.build()


def _tree(rng: np.random.Generator, size: Size) -> Mesh:
    length, width, height = size
    mesh, leaf = MeshBuilder(), pick(rng, LEAVES)
    fork, middle = 0.35 * height, 0.62 * height
    mesh.block(side(0, 0.3), side(0, 0.3), (0, fork), (55.0, 70.0, 90.0))
    slim = (side(0, 0.35 * length), side(0, 0.35 * width))
    mesh.block(*slim, (fork, middle), leaf, 1, side(0, length), side(0, width))
    mesh.block(side(0, length), side(0, width), (middle, height), leaf, 2, *slim)
    return mesh.build()


def _pole(rng: np.random.Generator, size: Size) -> Mesh:
    """A lamp post, or a traffic sign on a post."""
    length, width, height = size
    mesh, grey = MeshBuilder(), pick(rng, ((130.0, 130.0, 130.0), (80.0, 85.0, 80.0)))
    mesh.block(side(0, 0.16), side(0, 0.16), (0, height), grey)
    if height < 4.0:
        sign = mesh.block(side(0, length), side(0, width), (height - width, height), grey, 1)
        color = pick(rng, ((190.0, 90.0, 30.0), (40.0, 40.0, 200.0), (60.0, 190.0, 230.0)))
        for face in (FRONT, BACK):
            mesh.decal(sign, face, (0.06, 0.94, 0.06, 0.94), color)
        return mesh.build()
    mesh.block((-length / 2, length / 2), side(0, width), (height - 0.2, height), grey, 1)
    return mesh.build()


def _bin(rng: np.random.Generator, size: Size) -> Mesh:
    length, width, height = size
    mesh, paint = MeshBuilder(), pick(rng, ((70.0, 110.0, 60.0), (90.0, 90.0, 90.0), (150.0, 80.0, 40.0)))
    box = mesh.block(side(0, length), side(0, width), (0, 0.85 * height), paint)
    mesh.decal(box, FRONT, (0.2, 0.8, 0.3, 0.6), DARK)
    mesh.block(side(0, 0.9 * length), side(0, 0.9 * width), (0.85 * height, height), DARK, 1)
    return mesh.build()


def buildings(rng: np.random.Generator, streets: Streets, clutter: float) -> list[Thing]:
    """A row of houses along both sides of every street, with gaps; none reaches into another street."""
    houses: list[Thing] = []
    for index, (path, road) in enumerate(zip(streets.paths, streets.roads, strict=True)):
        for sign in (-1, 1):
            cursor = path.start_m + rng.uniform(0.0, 8.0)
            while cursor < path.end_m:
                width, depth, height = rng.uniform(7.0, 12.0), rng.uniform(6.0, 9.0), rng.uniform(4.0, 16.0)
                left = sign * (road.edge_m + rng.uniform(0.4, 4.0) + depth / 2)
                size = (float(depth), float(width), float(height))
                at = float(cursor + width / 2)
                if rng.random() < 0.9 and _clear_of_streets(streets, index, at, left, size):
                    mesh = _building(rng, size, 0.4 + 0.6 * clutter)
                    turned = -sign * np.pi / 2
                    houses.append(Thing(SCENERY, index, at, left, size, mesh, yaw_rad=turned, shadow=False))
                cursor += width + rng.choice([0.2, 0.2, 0.2, 6.0])
    return houses


def _clear_of_streets(streets: Streets, own: int, along_m: float, left_m: float, size: Size) -> bool:
    """Whether a footprint keeps off the pavement of every street but its own."""
    along = along_m + size[1] / 2 * np.array([-1, -1, 1, 1, 0])
    left = left_m + size[0] / 2 * np.array([-1, 1, -1, 1, 0])
    corners = streets.paths[own].pose(along, left)[:, :2]
    for index, (path, road) in enumerate(zip(streets.paths, streets.roads, strict=True)):
        limit = road.half_m + 1.0 if index == own else road.edge_m
        if np.hypot(*(corners[:, None] - path.xy[None]).transpose(2, 0, 1)).min() < limit:
            return False
    return True


def furniture(rng: np.random.Generator, streets: Streets, clutter: float) -> list[Thing]:
    """Trees, poles, signs and bins at the kerbs and along the house fronts of the main street."""
    path, road = streets.paths[0], streets.roads[0]
    things: list[Thing] = []
    for sign in (-1, 1):
        cursor = path.start_m
        while clutter > 0.0:
            cursor += rng.exponential(9.0 / clutter) + 1.0
            if cursor > path.end_m:
                break
            if streets.near_crossing(cursor, 4.0):
                continue
            kind = rng.choice(["tree", "tree", "pole", "sign", "bin"])
            offset = rng.choice([road.half_m + 0.5, road.edge_m - 0.4])
            things.append(_furnish(rng, str(kind), float(cursor), float(sign * offset), sign))
    return things


def _furnish(rng: np.random.Generator, kind: str, along_m: float, left_m: float, sign: int) -> Thing:
    scale = float(rng.uniform(0.8, 1.25))
    sizes = {"tree": (2.6, 2.6, 5.5), "pole": (1.8, 0.3, 7.5), "sign": (0.08, 0.7, 2.6), "bin": (0.6, 0.7, 1.1)}
    length, width, height = (scale * value for value in sizes[kind])
    size = (length, width, height)
    mesh = {"tree": _tree, "pole": _pole, "sign": _pole, "bin": _bin}[kind](rng, size)
    yaw = -sign * np.pi / 2 if kind in ("pole", "bin") else 0.0
    return Thing(SCENERY, 0, along_m, left_m, size, mesh, yaw_rad=yaw)
