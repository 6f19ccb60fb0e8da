"""How long each layer of an image encoder takes, at every pair of widths, on the engine that will run it.

`LatencyTable` answers; `measure.measured` makes one, or goes on with one that was begun.
"""

from tggbc_ros.compress.latency.file import read_table, write_table
from tggbc_ros.compress.latency.setting import Setting
from tggbc_ros.compress.latency.table import LatencyTable

__all__ = ["LatencyTable", "Setting", "read_table", "write_table"]
