"""How the ten detection classes look: sizes, colours and parts that show which way a thing faces.

Every builder fills its box exactly: a mesh of size (l, w, h) spans x = +-l/2, y = +-w/2, z = 0..h.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tggbc_ros.data.drive.mesh import BACK, FRONT, LEFT, RIGHT, Color, Mesh, MeshBuilder, side

Size = tuple[float, float, float]

# Length, width, height in metres: class means as nuScenes has them (a barrier is wide, not long).
MEAN_SIZE_M: dict[str, Size] = {
    "car": (4.6, 1.95, 1.72),
    "truck": (7.0, 2.5, 2.9),
    "construction_vehicle": (6.4, 2.8, 3.1),
    "bus": (11.2, 2.9, 3.5),
    "trailer": (11.5, 2.9, 3.8),
    "barrier": (0.5, 2.5, 1.0),
    "motorcycle": (2.1, 0.8, 1.5),
    "bicycle": (1.75, 0.62, 1.35),
    "pedestrian": (0.73, 0.67, 1.76),
    "traffic_cone": (0.42, 0.42, 1.05),
}

GLASS: Color = (70.0, 58.0, 48.0)
DARK: Color = (40.0, 38.0, 38.0)
HEADLIGHT: Color = (225.0, 250.0, 255.0)
TAIL_LIGHT: Color = (30.0, 25.0, 215.0)
SKIN: tuple[Color, ...] = ((140.0, 170.0, 215.0), (85.0, 120.0, 165.0), (50.0, 75.0, 110.0))
PAINT: tuple[Color, ...] = (
    (235.0, 235.0, 235.0),
    (45.0, 45.0, 48.0),
    (150.0, 150.0, 152.0),
    (105.0, 100.0, 95.0),
    (45.0, 40.0, 165.0),
    (140.0, 75.0, 40.0),
    (70.0, 105.0, 60.0),
    (60.0, 130.0, 175.0),
)
CLOTH: tuple[Color, ...] = (
    (60.0, 55.0, 170.0),
    (150.0, 95.0, 45.0),
    (55.0, 55.0, 55.0),
    (205.0, 205.0, 205.0),
    (75.0, 130.0, 70.0),
    (80.0, 175.0, 205.0),
    (130.0, 60.0, 120.0),
)


def pick(rng: np.random.Generator, colors: tuple[Color, ...], spread: float = 18.0) -> Color:
    """One of the colours, a little off."""
    blue, green, red = np.clip(np.array(colors[rng.integers(len(colors))]) + rng.uniform(-spread, spread, 3), 5, 250)
    return float(blue), float(green), float(red)


def draw_size(rng: np.random.Generator, name: str) -> Size:
    """A size typical for the class, each dimension within about 12 percent of its mean."""
    length, width, height = np.array(MEAN_SIZE_M[name]) * (1.0 + np.clip(rng.normal(0.0, 0.06, 3), -0.12, 0.12))
    return float(length), float(width), float(height)


def _lights(mesh: MeshBuilder, body: int, low: float, high: float) -> None:
    """Head and tail lights at the outer edges of a body's front and back."""
    for u0, u1 in ((0.04, 0.24), (0.76, 0.96)):
        mesh.decal(body, FRONT, (u0, u1, low, high), HEADLIGHT)
        mesh.decal(body, BACK, (u0, u1, low, high), TAIL_LIGHT)


def _wheels(mesh: MeshBuilder, axles: tuple[float, ...], width: float, radius: float) -> None:
    """A pair of wheels at each axle, painted before the body that stands on them."""
    for x in axles:
        for y in ((-width / 2, -width / 2 + 0.25), (width / 2 - 0.25, width / 2)):
            mesh.wheel(x, y, radius)


def _arches(mesh: MeshBuilder, body: int, positions: tuple[float, ...], span: float, height: float) -> None:
    """Dark wheel arches on both flanks; positions along the body, 0 back to 1 front."""
    for u in positions:
        mesh.decal(body, RIGHT, (u - span, u + span, 0.0, height), DARK)
        mesh.decal(body, LEFT, (1 - u - span, 1 - u + span, 0.0, height), DARK)


def car(rng: np.random.Generator, size: Size) -> Mesh:
    """Body, tapered cabin of glass set back, wheels, lights."""
    length, width, height = size
    paint, mesh = pick(rng, PAINT), MeshBuilder()
    floor, belt = 0.16 * height, 0.56 * height
    _wheels(mesh, (0.31 * length, -0.30 * length), width, 0.19 * height)
    body = mesh.block(side(0, length), side(0, width), (floor, belt), paint, layer=1)
    _arches(mesh, body, (0.2, 0.81), 0.085, 0.5)
    _lights(mesh, body, 0.5, 0.85)
    mesh.decal(body, FRONT, (0.28, 0.72, 0.2, 0.6), DARK)
    back = -0.47 * length if rng.random() < 0.5 else -0.40 * length
    roof = (back + 0.08 * length, 0.08 * length)
    cabin = mesh.block(
        (back, 0.22 * length), side(0, 0.94 * width), (belt, height), paint, 2, roof, side(0, 0.76 * width), GLASS
    )
    for face in (LEFT, RIGHT):
        mesh.decal(cabin, face, (0.47, 0.53, 0.0, 1.0), paint)
    return mesh.build()


def _cab(mesh: MeshBuilder, x: tuple[float, float], width: float, z: tuple[float, float], paint: Color) -> None:
    """A driver's cab with windscreen, side windows and head lights."""
    cab = mesh.block(x, side(0, width), z, paint, layer=1)
    mesh.decal(cab, FRONT, (0.06, 0.94, 0.5, 0.92), GLASS)
    mesh.decal(cab, LEFT, (0.1, 0.6, 0.5, 0.88), GLASS)
    mesh.decal(cab, RIGHT, (0.4, 0.9, 0.5, 0.88), GLASS)
    for u0, u1 in ((0.04, 0.24), (0.76, 0.96)):
        mesh.decal(cab, FRONT, (u0, u1, 0.08, 0.2), HEADLIGHT)


def truck(rng: np.random.Generator, size: Size) -> Mesh:
    """A cab, lower than the cargo box behind it, on a dark chassis."""
    length, width, height = size
    mesh, nose = MeshBuilder(), 0.5 * length
    cab_back = nose - 0.27 * length
    _wheels(mesh, (0.34 * length, -0.28 * length), width, 0.16 * height)
    mesh.block(side(0, length), side(0, 0.8 * width), (0.12 * height, 0.3 * height), DARK, layer=0)
    _cab(mesh, (cab_back, nose), 0.94 * width, (0.16 * height, 0.82 * height), pick(rng, PAINT))
    white: tuple[Color, ...] = ((228.0, 228.0, 228.0), (150.0, 165.0, 175.0), (150.0, 95.0, 50.0), (60.0, 110.0, 150.0))
    cargo = mesh.block((-nose, cab_back - 0.1), side(0, width), (0.3 * height, height), pick(rng, white), layer=1)
    mesh.decal(cargo, BACK, (0.49, 0.51, 0.02, 0.98), DARK)
    for u0, u1 in ((0.03, 0.16), (0.84, 0.97)):
        mesh.decal(cargo, BACK, (u0, u1, 0.01, 0.09), TAIL_LIGHT)
    return mesh.build()


def bus(rng: np.random.Generator, size: Size) -> Mesh:
    """One long body with a band of windows and a full-width windscreen."""
    length, width, height = size
    mesh, colors = MeshBuilder(), ((70.0, 190.0, 235.0), (60.0, 50.0, 190.0), (170.0, 110.0, 50.0), (90.0, 160.0, 90.0))
    _wheels(mesh, (0.32 * length, -0.27 * length), width, 0.14 * height)
    body = mesh.block(side(0, length), side(0, width), (0.1 * height, height), pick(rng, colors), layer=1)
    _arches(mesh, body, (0.23, 0.82), 0.05, 0.2)
    mesh.decal(body, FRONT, (0.05, 0.95, 0.36, 0.86), GLASS)
    mesh.decal(body, BACK, (0.2, 0.8, 0.56, 0.84), GLASS)
    for index in range(6):
        u = 0.04 + 0.155 * index
        for face in (LEFT, RIGHT):
            mesh.decal(body, face, (u, u + 0.135, 0.45, 0.82), GLASS)
    _lights(mesh, body, 0.08, 0.18)
    mesh.decal(body, RIGHT, (0.86, 0.94, 0.05, 0.82), GLASS)
    return mesh.build()


def trailer(rng: np.random.Generator, size: Size) -> Mesh:
    """A long box on wheels at its rear, without a cab; ribs on the flanks, red marks on the back."""
    length, width, height = size
    mesh, colors = MeshBuilder(), ((200.0, 200.0, 200.0), (120.0, 120.0, 125.0), (160.0, 130.0, 95.0))
    _wheels(mesh, (-0.25 * length, -0.35 * length), width, 0.13 * height)
    mesh.block((0.25 * length, 0.28 * length), side(0, 0.6 * width), (0.0, 0.27 * height), DARK)
    mesh.block(side(-0.1 * length, 0.7 * length), side(0, 0.7 * width), (0.17 * height, 0.27 * height), DARK)
    paint = pick(rng, colors)
    box = mesh.block(side(0, length), side(0, width), (0.27 * height, height), paint, layer=1)
    rib = (paint[0] * 0.75, paint[1] * 0.75, paint[2] * 0.75)
    for u in np.linspace(0.06, 0.92, 8):
        for face in (LEFT, RIGHT):
            mesh.decal(box, face, (float(u), float(u) + 0.02, 0.0, 1.0), rib)
    mesh.decal(box, BACK, (0.03, 0.97, 0.0, 0.05), TAIL_LIGHT)
    mesh.decal(box, BACK, (0.49, 0.51, 0.05, 1.0), DARK)
    return mesh.build()


def construction_vehicle(rng: np.random.Generator, size: Size) -> Mesh:
    """A wheel loader: yellow engine at the back, cab, arms and a bucket in front."""
    length, width, height = size
    mesh, paint = MeshBuilder(), pick(rng, ((35.0, 175.0, 235.0), (30.0, 125.0, 230.0)))
    front, back = 0.5 * length, -0.5 * length
    _wheels(mesh, (0.12 * length, -0.3 * length), 0.9 * width, 0.22 * height)
    engine = mesh.block((back, -0.05 * length), side(0, 0.75 * width), (0.25 * height, 0.62 * height), paint, layer=1)
    mesh.decal(engine, BACK, (0.15, 0.85, 0.2, 0.8), DARK)
    mesh.block(side(0.08 * length, 0.26 * length), side(0, 0.5 * width), (0.25 * height, 0.5 * height), paint, layer=1)
    for y in (-0.25 * width, 0.25 * width):
        mesh.block((0.15 * length, 0.42 * length), side(y, 0.16), (0.35 * height, 0.48 * height), paint, layer=1)
    mesh.block((front - 0.17 * length, front), side(0, width), (0.02 * height, 0.34 * height), DARK, 1,
               top_x=(front - 0.17 * length, front - 0.12 * length))  # fmt: skip
    cab = mesh.block(side(-0.08 * length, 0.26 * length), side(0, 0.6 * width), (0.5 * height, height), paint, 2)
    for face in (FRONT, LEFT, BACK, RIGHT):
        mesh.decal(cab, face, (0.1, 0.9, 0.15, 0.85), GLASS)
    return mesh.build()


def barrier(rng: np.random.Generator, size: Size) -> Mesh:
    """A slab across its heading, wider at the foot, striped."""
    length, width, height = size
    base, stripe = ((215.0, 215.0, 215.0), (40.0, 40.0, 205.0)) if rng.random() < 0.6 else (
        (40.0, 120.0, 235.0), (235.0, 235.0, 235.0))  # fmt: skip
    mesh = MeshBuilder()
    slab = mesh.block(side(0, length), side(0, width), (0, height), base, top_x=side(0, 0.4 * length))
    for face in (FRONT, BACK):
        for u in (0.08, 0.41, 0.74):
            mesh.decal(slab, face, (u, u + 0.18, 0.25, 0.85), stripe)
    return mesh.build()


def traffic_cone(rng: np.random.Generator, size: Size) -> Mesh:
    """An orange pyramid on a foot, with a white band."""
    length, width, height = size
    mesh, orange = MeshBuilder(), pick(rng, ((25.0, 90.0, 240.0),), spread=12.0)
    mesh.block(side(0, length), side(0, width), (0, 0.06 * height), (40.0, 60.0, 120.0))
    cone = mesh.block(
        side(0, 0.72 * length), side(0, 0.72 * width), (0.06 * height, height), orange, 1, side(0, 0.08), side(0, 0.08)
    )
    for face in (FRONT, LEFT, BACK, RIGHT):
        mesh.decal(cone, face, (0.0, 1.0, 0.42, 0.68), (240.0, 240.0, 240.0))
    return mesh.build()


def pedestrian(rng: np.random.Generator, size: Size) -> Mesh:
    """Striding legs, torso, arms and a head whose back is hair."""
    length, width, height = size
    mesh, trousers, shirt, skin = MeshBuilder(), pick(rng, CLOTH), pick(rng, CLOTH), pick(rng, SKIN, 8.0)
    hip, neck = 0.47 * height, 0.84 * height
    for y, foot in ((0.13 * width, length / 2 - 0.16), (-0.13 * width, -length / 2)):
        mesh.block((foot, foot + 0.16), side(y, 0.24 * width), (0, hip), trousers, top_x=side(0, 0.2))
    mesh.block(side(0, 0.34 * length), side(0, 0.62 * width), (hip, neck), shirt, 1, side(0, 0.3 * length))
    for y, hand in ((0.41 * width, -0.12), (-0.41 * width, 0.12)):
        mesh.block(side(hand, 0.12), side(y, 0.18 * width), (0.4 * height, 0.8 * height), shirt, 1, top_x=side(0, 0.12))
    head = mesh.block(side(0, 0.22), side(0, 0.17), (neck, height), (45.0, 50.0, 60.0), 2, sides=skin)
    for face in (LEFT, RIGHT):
        mesh.decal(head, face, (0.0, 0.45, 0.4, 1.0) if face == RIGHT else (0.55, 1.0, 0.4, 1.0), (45.0, 50.0, 60.0))
    mesh.decal(head, BACK, (0.0, 1.0, 0.1, 1.0), (45.0, 50.0, 60.0))
    return mesh.build()


def _rider(rng: np.random.Generator, mesh: MeshBuilder, saddle: tuple[float, float, float], height: float, width: float,
           helmet: Color) -> None:  # fmt: skip
    """Someone sitting at ``saddle`` (x, z, hands' x), leaning forward."""
    x, z, hands = saddle
    trousers, shirt, skin = pick(rng, CLOTH), pick(rng, CLOTH), pick(rng, SKIN, 8.0)
    for y in (-0.25 * width, 0.25 * width):
        mesh.block(side(x + 0.16, 0.16), side(y, 0.18), (0.3 * z, z + 0.08), trousers, 1, side(x, 0.18))
    shoulder = z + 0.68 * (height - z)
    mesh.block(side(x, 0.26), side(0, 0.6 * width), (z, shoulder), shirt, 2, side(x + 0.18, 0.24))
    for y in (-0.4 * width, 0.4 * width):
        mesh.block(side(hands, 0.1), side(y, 0.1), (z + 0.1, shoulder), shirt, 2, side(x + 0.18, 0.12))
    head = mesh.block(side(x + 0.22, 0.22), side(0, 0.2), (shoulder, height), helmet, 3, sides=skin)
    for face in (LEFT, BACK, RIGHT):
        mesh.decal(head, face, (0.0, 1.0, 0.45, 1.0), helmet)


def bicycle(rng: np.random.Generator, size: Size, with_rider: bool) -> Mesh:
    """Two thin wheels and a frame; with a rider the box reaches to the rider's head."""
    length, width, height = size
    mesh, paint = MeshBuilder(), pick(rng, PAINT)
    radius = 0.19 * length
    for x in (0.5 * length - radius, radius - 0.5 * length):
        mesh.wheel(x, side(0, 0.07), radius)
    bar = 1.0 if with_rider else height
    mesh.block(side(0, 0.5 * length), side(0, 0.06), (radius, 0.8 * bar), paint, 1, side(-0.02, 0.36 * length))
    mesh.block(side(0.27 * length, 0.08), side(0, width), (bar - 0.08, bar), DARK, 2)
    mesh.block(side(-0.14 * length, 0.2), side(0, 0.14), (0.8 * bar, 0.92 * bar), DARK, 2)
    if with_rider:
        _rider(rng, mesh, (-0.14 * length, 0.92, 0.27 * length), height, width, pick(rng, PAINT))
    return mesh.build()


def motorcycle(rng: np.random.Generator, size: Size, with_rider: bool) -> Mesh:
    """Fat wheels, tank, seat, a head light in front and a tail light behind."""
    length, width, height = size
    mesh, paint = MeshBuilder(), pick(rng, PAINT)
    radius = 0.15 * length
    for x in (0.5 * length - radius, radius - 0.5 * length):
        mesh.wheel(x, side(0, 0.16), radius)
    body = mesh.block(side(-0.06 * length, 0.66 * length), side(0, 0.34), (radius, 0.8), paint, 1)
    mesh.decal(body, BACK, (0.2, 0.8, 0.6, 0.9), TAIL_LIGHT)
    bar = 1.1 if with_rider else height
    fork = mesh.block(side(0.3 * length, 0.24), side(0, 0.3), (0.7, bar - 0.1), paint, 2)
    mesh.decal(fork, FRONT, (0.15, 0.85, 0.2, 0.8), HEADLIGHT)
    mesh.block(side(0.24 * length, 0.1), side(0, width), (bar - 0.1, bar), DARK, 2)
    mesh.block(side(-0.16 * length, 0.4 * length), side(0, 0.26), (0.8, 0.88), DARK, 2)
    if with_rider:
        _rider(rng, mesh, (-0.12 * length, 0.88, 0.24 * length), height, width, DARK)
    return mesh.build()


RIDER_HEIGHT_M = 1.72

BUILDERS: dict[str, Callable[[np.random.Generator, Size], Mesh]] = {
    "car": car,
    "truck": truck,
    "construction_vehicle": construction_vehicle,
    "bus": bus,
    "trailer": trailer,
    "barrier": barrier,
    "pedestrian": pedestrian,
    "traffic_cone": traffic_cone,
}


def build(rng: np.random.Generator, name: str, with_rider: bool = False) -> tuple[Size, Mesh]:
    """A thing of that class: its size (length, width, height) and its mesh."""
    size = draw_size(rng, name)
    if name in ("bicycle", "motorcycle"):
        length, width, height = size
        height *= RIDER_HEIGHT_M / MEAN_SIZE_M[name][2] if with_rider else 0.8
        size = (length, width, height)
        return size, (bicycle if name == "bicycle" else motorcycle)(rng, size, with_rider)
    if name not in BUILDERS:
        raise ValueError(f"class is {name!r}, expected one of {', '.join(MEAN_SIZE_M)}")
    return size, BUILDERS[name](rng, size)
