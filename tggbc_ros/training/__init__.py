"""Training of StreamPETR on nuScenes-schema data.

Read in this order: prepare, frames, streams, assign, losses, denoise, tracked, guide, objectives, dense,
tasks, features, parallel, loop.
"""
