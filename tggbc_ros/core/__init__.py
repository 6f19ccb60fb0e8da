"""The algorithm: numpy, torch and Pillow's resize, nothing of ROS and no file formats.

Start reading at `detector.py`.
"""
