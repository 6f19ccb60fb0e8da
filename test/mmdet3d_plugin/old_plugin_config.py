"""Text of a config as the old plugins have it, cut down to what the converter reads, in their layout and names."""

from __future__ import annotations

OLD_CONFIG = """
_base_ = ["../../missing/nus-3d.py"]
plugin = True
point_cloud_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
img_norm_cfg = dict(mean=[103.530, 116.280, 123.675], std=[57.375, 57.120, 58.395], to_rgb=False)
class_names = ["car", "truck", "construction_vehicle", "bus", "trailer", "barrier",
               "motorcycle", "bicycle", "pedestrian", "traffic_cone"]
num_gpus = 2
batch_size = 2
num_iters_per_epoch = 28130 // (num_gpus * batch_size)
collect_keys = ["lidar2img"]
model = dict(
    type="Petr3D",
    use_grid_mask=True,
    img_backbone=dict(type="VoVNetCP", spec_name="V-99-eSE", norm_eval=True),
    img_neck=dict(type="CPFPN", in_channels=[768, 1024], out_channels=256, num_outs=2),
    img_roi_head=dict(type="FocalHead", num_classes=10),
    pts_bbox_head=dict(
        type="StreamPETRHead",
        num_classes=10,
        in_channels=256,
        num_query=600,
        memory_len=1024,
        topk_proposals=256,
        num_propagated=256,
        with_ego_pos=True,
        match_with_velo=False,
        scalar=10,
        noise_scale=1.0,
        dn_weight=1.0,
        split=0.75,
        LID=True,
        with_position=True,
        position_range=[-61.2, -61.2, -10.0, 61.2, 61.2, 10.0],
        code_weights=[2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        transformer=dict(
            type="PETRTemporalTransformer",
            decoder=dict(
                type="PETRTransformerDecoder",
                num_layers=6,
                strategy="gbc",
                r=21000,
                n=1,
                k=175,
                transformerlayers=dict(
                    type="PETRTemporalDecoderLayer",
                    attn_cfgs=[dict(type="MultiheadAttention", embed_dims=256, num_heads=8, dropout=0.1)],
                    feedforward_channels=2048,
                ),
            ),
        ),
        bbox_coder=dict(
            type="NMSFreeCoder",
            post_center_range=[-61.2, -61.2, -10.0, 61.2, 61.2, 10.0],
            pc_range=point_cloud_range,
            max_num=300,
        ),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=3.0),
        loss_bbox=dict(type="L1Loss", loss_weight=0.25),
    ),
)
data_root = "./data/nuscenes/"
ida_aug_conf = {
    "resize_lim": (0.94, 1.25), "final_dim": (640, 1600), "bot_pct_lim": (0.0, 0.0), "rand_flip": True,
}
train_pipeline = [
    dict(type="LoadMultiViewImageFromFiles", to_float32=True),
    dict(type="GlobalRotScaleTransImage", rot_range=[-0.3925, 0.3925], scale_ratio_range=[0.95, 1.05]),
    dict(type="NormalizeMultiviewImage", **img_norm_cfg),
    dict(type="Collect3D", keys=["img"] + collect_keys),
]
data = dict(samples_per_gpu=batch_size, workers_per_gpu=4, train=dict(seq_split_num=2))
optimizer = dict(
    type="AdamW", lr=1.5e-4, weight_decay=0.01,
    paramwise_cfg=dict(custom_keys={"img_backbone": dict(lr_mult=0.1)}),
)
optimizer_config = dict(type="Fp16OptimizerHook", loss_scale="dynamic", grad_clip=dict(max_norm=35, norm_type=2))
lr_config = dict(
    policy="CosineAnnealing", warmup="linear", warmup_iters=500, warmup_ratio=1.0 / 3, min_lr_ratio=1e-3,
)
custom_hooks = [
    dict(
        type="GBCHook",
        warmup_iters=3 * num_iters_per_epoch,
        heating_iters=6 * num_iters_per_epoch,
        r=21000, n=1, k=175, layers=6, log_interval=50,
    )
]
checkpoint_config = dict(interval=num_iters_per_epoch)
runner = dict(type="IterBasedRunner", max_iters=30 * num_iters_per_epoch)
load_from = "ckpts/fcos3d_vovnet_imgbackbone-remapped.pth"
"""
