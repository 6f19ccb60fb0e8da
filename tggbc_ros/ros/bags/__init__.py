"""Bags played and recorded over rclpy, where ros2 bag is not installed or does too little."""
