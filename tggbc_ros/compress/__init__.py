"""Offline: makes a trained network smaller or cheaper to run; only tools import it."""
