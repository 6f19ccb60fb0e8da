"""Single weights set to zero where that distorts the detections least (docs/sparse.md)."""
