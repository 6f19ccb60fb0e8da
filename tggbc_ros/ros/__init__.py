"""The ROS 2 side: thin, everything that thinks is in ``core``."""
