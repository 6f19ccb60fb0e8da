"""What `tools.demo` shows: a drive through the running node, and what came out as film, pictures and a page."""
