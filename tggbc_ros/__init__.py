"""Camera-only 3D detection for ROS 2: StreamPETR with run-time key pruning.

The generated messages install to ``tggbc_ros/msg`` beside this package; extending the path lets a
source checkout and the built messages be one package.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
