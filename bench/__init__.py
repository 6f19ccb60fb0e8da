"""Benchmarks: what key pruning saves and costs. ``make bench`` runs them; nothing here is installed."""

import os

# The profiler's library says on standard error when it starts and stops, unless told so before torch is loaded.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")
