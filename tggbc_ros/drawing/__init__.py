"""Pictures with OpenCV and NumPy: boxes, keys and colours; nothing here needs ROS, but to find its colours."""
