"""rosbag2 files read and written without a ROS installation."""
