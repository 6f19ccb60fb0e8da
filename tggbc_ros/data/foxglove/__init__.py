"""Foxglove's protobuf recordings as ROS messages."""
