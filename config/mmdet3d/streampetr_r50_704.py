"""StreamPETR, ResNet-50, 704x256, 428 queries: the node's model r50_704.

Augmentation and length as the authors train it, 60 epochs of 16 frames a step; without their auxiliary 2D head
and grid mask.
"""

_base_ = ["./nuscenes.py"]

network = dict(base="r50_704")
max_iters = 60 * _base_.epoch_iters

model = dict(
    type="StreamPETR",
    data_preprocessor=dict(
        type="Det3DDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type="mmdet.ResNet",
        depth=50,
        out_indices=(2, 3),
        norm_cfg=dict(type="BN", requires_grad=False),
        norm_eval=True,
        style="pytorch",
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
    neck=dict(type="CPFPN", in_channels=[1024, 2048]),
    head=dict(type="StreamPETRHead", **network),
    pruning=dict(keep_ratio=1.0, layers=1, queries=175),
)

train_pipeline = [
    _base_.load_images,
    _base_.load_boxes,
    _base_.rotate,
    dict(type="FitCameraImages", resize_range=(0.38, 0.55), flip_ratio=0.5, **network),
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
