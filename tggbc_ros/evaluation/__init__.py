"""Official scores: detections of the library or of a recorded node, judged by nuscenes-devkit. Never imports rclpy."""
