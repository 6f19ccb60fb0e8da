"""Recorded runs of the original code, and our network put through them."""
