"""Data sets, synthetic drives and bags; nothing here needs a ROS installation."""
