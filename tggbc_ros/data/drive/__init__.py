"""Synthetic drives: a street world, six cameras in it, and the nuScenes tables that describe it.

Read in this order: config, rig, path, shapes, scenery, traffic, world, render, frames, schema.
"""
