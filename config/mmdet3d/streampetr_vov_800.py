"""StreamPETR, VoVNet-99, 800x320, 900 queries: the node's model vov_800.

Rates, augmentation and length as the authors train it, 24 epochs of 16 frames a step; without their auxiliary 2D head
and grid mask. load_from must name a pretrained backbone (docs/mmdet3d.md).
"""

_base_ = ["./nuscenes.py"]

network = dict(base="vov_800")
processes = 8
epoch_iters = 28130 // (2 * processes)
max_iters = 24 * epoch_iters

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

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=4e-4, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1 / 3, begin=0, end=500, by_epoch=False),
    dict(type="CosineAnnealingLR", eta_min_ratio=1e-3, begin=500, end=max_iters, T_max=max_iters - 500, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(type="CheckpointHook", interval=epoch_iters, by_epoch=False, max_keep_ckpts=3))
