"""nuScenes v1.0-schema data sets, real or synthetic, without the devkit."""
