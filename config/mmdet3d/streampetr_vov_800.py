"""StreamPETR, VoVNet-99, 800x320, 900 queries: the node's model vov_800.

Augmentation and length as the authors train it, 24 epochs of 16 frames a step; without their auxiliary 2D head
and grid mask. load_from must name a pretrained backbone (docs/mmdet3d.md).
"""

_base_ = ["./nuscenes.py"]

network = dict(base="vov_800")
max_iters = 24 * _base_.epoch_iters

model = dict(
    type="StreamPETR",
    data_preprocessor=dict(
        type="Det3DDataPreprocessor",
        mean=[103.53, 116.28, 123.675],
        std=[57.375, 57.12, 58.395],
        bgr_to_rgb=False,
        pad_size_divisor=32,
    ),
    backbone=dict(type="VoVNet", blocks=(1, 3, 9, 3), norm_eval=True),
    neck=dict(type="CPFPN", in_channels=[768, 1024]),
    head=dict(type="StreamPETRHead", **network),
    pruning=dict(keep_ratio=1.0, layers=1, queries=175),
)

train_pipeline = [
    _base_.load_images,
    _base_.load_boxes,
    _base_.rotate,
    dict(type="FitCameraImages", resize_range=(0.47, 0.625), flip_ratio=0.5, **network),
    _base_.pack_train,
]
test_pipeline = [_base_.load_images, dict(type="FitCameraImages", **network), _base_.pack_test]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

param_scheduler = [
    _base_.warm_up,
    dict(_base_.cool_down, end=max_iters, T_max=max_iters - _base_.warmup_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
