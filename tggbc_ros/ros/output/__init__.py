"""What the node publishes: boxes, markers, pictures and the report of each set."""
