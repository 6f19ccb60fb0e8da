"""StreamPETR with key pruning for mmdet3d 1.4: importing this registers all parts. docs/mmdet3d.md tells how.

A config says ``custom_imports = dict(imports=["tggbc_ros.mmdet3d_plugin"], allow_failed_imports=False)`` and can
then name them. Nothing else of the package imports this, and without mmdet3d it cannot be imported.
"""

from tggbc_ros.mmdet3d_plugin.checkpoints import allow_own_checkpoints
from tggbc_ros.mmdet3d_plugin.detector import StreamPETR
from tggbc_ros.mmdet3d_plugin.hooks import ClassOrderHook, KeyPruningHook
from tggbc_ros.mmdet3d_plugin.parts import CPFPN, StreamPETRHead, VoVNet
from tggbc_ros.mmdet3d_plugin.samplers import ContiguousSampler, StreamBatchSampler
from tggbc_ros.mmdet3d_plugin.transforms import FitCameraImages, RotateLidarFrame

__all__ = [
    "CPFPN",
    "ClassOrderHook",
    "ContiguousSampler",
    "FitCameraImages",
    "KeyPruningHook",
    "RotateLidarFrame",
    "StreamBatchSampler",
    "StreamPETR",
    "StreamPETRHead",
    "VoVNet",
]

allow_own_checkpoints()
