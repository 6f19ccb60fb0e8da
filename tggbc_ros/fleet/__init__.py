"""Many bags or scenes, on many workers: each is one task, done in order inside, and done exactly once (Ray)."""
