"""A slim network from one command: measure, score, solve, cut, tune, evaluate, report."""
