"""The distortion models of CameraInfo: their names, and how many coefficients each has."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo

FISHEYE = ("equidistant", "fisheye")
COEFFICIENTS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,), "fisheye": (4,)}
"""Distortion model of sensor_msgs -> how many coefficients it may have; "fisheye" is a common other name."""


def is_distorted(info: CameraInfo) -> bool:
    """Whether its images are not a pinhole's. A fisheye's are not, even with all coefficients 0."""
    return info.distortion_model in FISHEYE or any(info.d)
