"""Command-line programs, one file each: ``python -m tggbc_ros.tools.<name>``."""
