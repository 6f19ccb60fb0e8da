"""What the node says of itself: /diagnostics, stage times, memory."""
