"""As streampetr_vov_800, trained with key pruning.

All keys for three epochs, then linearly fewer over six, until the decoder's last five layers see 750 of 6000: tgGBC's
schedule and the share of keys that its authors train with at 1600x640.
"""

_base_ = ["./streampetr_vov_800.py"]

custom_hooks = [
    dict(type="ClassOrderHook"),
    dict(
        type="KeyPruningHook",
        warmup_iters=3 * _base_.epoch_iters,
        heating_iters=6 * _base_.epoch_iters,
        keep_ratio=0.125,
        n=1,
        k=175,
    ),
]
model = dict(pruning=dict(keep_ratio=0.125))
