"""nuScenes for StreamPETR: data, samplers, metric, hooks, optimiser.

Pipelines, the network and how long to train are said by the configs that have this one as their base. Rates are those
of the authors, for 16 frames a step. The environment variable NUSCENES names the data's folder; the infos in it come
from mmdet3d's create_data.py, or from python -m tggbc_ros.tools.convert_mmdet3d infos.
"""

_base_ = ["mmdet3d::_base_/default_runtime.py"]
custom_imports = dict(imports=["tggbc_ros.mmdet3d_plugin"], allow_failed_imports=False)

data_root = "{{$NUSCENES:data/nuscenes}}/"
train_infos = "nuscenes_infos_train.pkl"
val_infos = "nuscenes_infos_val.pkl"
metainfo = dict(
    classes=(
        "car", "truck", "construction_vehicle", "bus", "trailer",
        "barrier", "motorcycle", "bicycle", "pedestrian", "traffic_cone",
    ),
    version="v1.0-trainval",
)  # fmt: skip
processes = 8
epoch_iters = 28130 // (2 * processes)
warmup_iters = 500
camera_only = dict(use_camera=True, use_lidar=False)
meta_keys = (
    "sample_idx", "token", "scene_token", "timestamp", "lidar2global", "intrinsics", "lidar2img", "img_path",
    "ori_shape", "img_shape", "box_type_3d", "box_mode_3d", "num_views",
)  # fmt: skip

load_images = dict(type="LoadMultiViewImageFromFiles", to_float32=False, num_views=6)
load_boxes = dict(type="LoadAnnotations3D", with_bbox_3d=True, with_label_3d=True)
rotate = dict(type="RotateLidarFrame", angle_range=(-0.3925, 0.3925))
pack_train = dict(type="Pack3DDetInputs", keys=["img", "gt_bboxes_3d", "gt_labels_3d"], meta_keys=meta_keys)
pack_test = dict(type="Pack3DDetInputs", keys=["img"], meta_keys=meta_keys)

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    batch_sampler=dict(type="StreamBatchSampler", seed=0),
    dataset=dict(
        type="NuScenesDataset",
        data_root=data_root,
        ann_file=train_infos,
        data_prefix=dict(img=""),
        metainfo=metainfo,
        modality=camera_only,
        box_type_3d="LiDAR",
        filter_empty_gt=False,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="ContiguousSampler"),
    dataset=dict(
        type="NuScenesDataset",
        data_root=data_root,
        ann_file=val_infos,
        data_prefix=dict(img=""),
        metainfo=metainfo,
        modality=camera_only,
        box_type_3d="LiDAR",
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type="NuScenesMetric", data_root=data_root, ann_file=data_root + val_infos, metric="bbox", modality=camera_only
)
test_evaluator = val_evaluator
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=4e-4, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
    clip_grad=dict(max_norm=35, norm_type=2),
)
warm_up = dict(type="LinearLR", start_factor=1 / 3, begin=0, end=warmup_iters, by_epoch=False)
cool_down = dict(type="CosineAnnealingLR", eta_min_ratio=1e-3, begin=warmup_iters, by_epoch=False)
train_cfg = dict(type="IterBasedTrainLoop")
default_hooks = dict(checkpoint=dict(type="CheckpointHook", interval=epoch_iters, by_epoch=False, max_keep_ckpts=3))
custom_hooks = [dict(type="ClassOrderHook")]
log_processor = dict(type="LogProcessor", window_size=50, by_epoch=False)
