"""One thing in the world: what it is, how it moves, how it looks."""

from __future__ import annotations

from dataclasses import dataclass

from tggbc_ros.data.drive.mesh import Mesh
from tggbc_ros.data.drive.shapes import Size

SCENERY = ""


@dataclass(frozen=True, eq=False)
class Thing:
    """Something standing on the ground, bound to a street.

    name: detection class, or `SCENERY` for what is never annotated. path: index of the street;
    along_m, left_m: where on it at time 0. direction: +1 along the street, -1 against it. profile: index of
    the distance profile it follows. yaw_rad: turned against its direction. size: (l, w, h), metres.
    parked: left for good, not only waiting. rider: someone sits on it. shadow: casts one.
    """

    name: str
    path: int
    along_m: float
    left_m: float
    size: Size
    mesh: Mesh
    direction: int = 1
    profile: int = 0
    yaw_rad: float = 0.0
    parked: bool = False
    rider: bool = False
    shadow: bool = True
