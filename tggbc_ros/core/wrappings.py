"""What trainings, tools and downloads wrap around a network's weights, taken off where its meaning is certain.

Raises ValueError where it is not; the text goes on from the file's name.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

State = Mapping[str, torch.Tensor]

HOLDERS = (
    "model",
    "model_state_dict",
    "model_state",
    "module",
    "net",
    "network",
    "params",
    "weights",
    "ema",
    "model_ema",
    "ema_model",
    "ema_state_dict",
    "state_dict_ema",
    "params_ema",
)
"""Under which key training loops keep the weights, beside optimizer and counters; ``state_dict`` goes before them."""

DEEPEST = 4
"""Wrappings within wrappings, at most."""

WRAPPED_BY_TORCH = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that torch puts in, wherever in the network something is run in parallel, compiled or recomputed."""

ROOTS = frozenset({"img_backbone", "img_neck", "pts_bbox_head", "backbone", "neck", "head"})
"""The first part of our names and of StreamPETR's; what stands before it is a prefix."""

NOT_WEIGHTS = ("img_roi_head.", "data_preprocessor.", "key_gate.")
"""2D boxes, an auxiliary task; the mean and deviation of pixels, which our configuration holds; core/key_gate.py."""

COUNTERS = frozenset({"steps", "n_averaged"})
"""What averaging counts beside the weights."""

HEAD_BYTES = 512
SHORTEST_TEXT = 16
PICKLED_AS_TEXT = (b"PK", b"c", b"(")
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7z", b"(\xb5/\xfd": "zstd"}
"""What packed files begin with."""

DAMAGED_ZIP = (zipfile.BadZipFile, OSError, EOFError, ValueError, LookupError, NotImplementedError, struct.error)


def why_no_checkpoint(path: Path) -> str:
    """What the file is instead of a checkpoint, and the way out; empty where its first bytes do not tell."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        return "it is empty; copy or download it again"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, in place of the file; git lfs pull fetches that"
    if head.startswith((b"/annex/objects/", b"../.git/annex/", b".git/annex/")):
        return "it is a pointer of git-annex, in place of the file; git annex get fetches that"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] == b"<":
        return "it is a web page; its link asks something first: open it in a browser, and save what that gives"
    if text[:1] in (b"{", b"["):
        return f"it is JSON, not weights, and begins {_shown(text)}; an answer of a server, or an index of other files"
    for magic, kind in PACKED.items():
        if head.startswith(magic):
            return f"it is packed by {kind}; unpack it"
    if head.startswith(b"\x89HDF"):
        return "it is an HDF5 file, as Keras writes; save a state dict with torch.save"
    if len(head) >= SHORTEST_TEXT and head.isascii() and b"\0" not in head and not head.startswith(PICKLED_AS_TEXT):
        return f"it is text, and begins {_shown(text)}"
    return _why_no_checkpoint_in_zip(path)


def _why_no_checkpoint_in_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except DAMAGED_ZIP:
        return ""  # whoever reads the file will say what is damaged
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last:
        return "it is a TorchScript program; save its state_dict() with torch.save"
    if "data.pkl" in last:
        return ""
    inside = [name for name in names if name.endswith((".pth", ".pt", ".ckpt", ".safetensors"))]
    if inside:
        return f"it is a zip archive around {', '.join(inside[:3])}; unpack it"
    return f"it is a zip archive of {', '.join(names[:3]) or 'nothing'}, and no checkpoint"


def _shown(text: bytes) -> str:
    return repr(" ".join(text[:60].decode("ascii", "replace").split()))


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as such files do: the length of a head of JSON, and that head."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def weights_in(content: Any) -> Any:
    """What a training loop saved as the weights, out of all that it saved; ``content`` itself where nothing is around.

    Raises ValueError where several of its parts may be meant.
    """
    for _ in range(DEEPEST):
        if not isinstance(content, dict):
            break
        if isinstance(content.get("state_dict"), dict):
            content = content["state_dict"]
            continue
        held = [key for key in HOLDERS if _holds_tensors(content.get(key))]
        if len(held) > 1:
            raise ValueError(f"holds weights as {_either(held)}; save a file with the one that is meant, alone")
        if not held or any(isinstance(value, torch.Tensor) and value.numel() > 1 for value in content.values()):
            break
        content = content[held[0]]
    return content


def _holds_tensors(value: Any) -> bool:
    """Whether it is a dictionary with tensors in it, or in a dictionary in it."""
    if not isinstance(value, dict):
        return False
    return any(isinstance(item, torch.Tensor) or _holds_tensors(item) for item in value.values())


def with_shared(state: State, kept_as: Mapping[str, str]) -> State:
    """The state with tensors of several names under each of them; safetensors keeps one, and notes which."""
    return {**{name: state[kept] for name, kept in kept_as.items() if kept in state}, **state}


def bare(state: State) -> dict[str, torch.Tensor]:
    """The network's tensors by its own names: without prefixes, and without what is no weight of it.

    What nobody knows is left, for the caller to refuse. Raises ValueError where there are two networks.
    """
    unwrapped: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        name = ".".join(part for part in key.split(".") if part not in WRAPPED_BY_TORCH)
        if name in unwrapped:
            raise ValueError(f"holds {name} twice, one of them as {key}; save a file with the one that is meant, alone")
        unwrapped[name] = value
    prefixes = sorted({prefix for prefix in map(_prefix, unwrapped) if prefix is not None})
    if len(prefixes) > 1:
        found = _either([f"{prefix}{'.' * bool(prefix)}…" for prefix in prefixes])
        raise ValueError(f"holds weights as {found}; save a file with those that are meant, alone")
    prefix = f"{prefixes[0]}." if prefixes and prefixes[0] else ""
    names = {name.removeprefix(prefix): value for name, value in unwrapped.items()}
    copies = {f"ema_{name.replace('.', '_')}" for name in names}  # MMCV 1's averages, a buffer for each parameter
    return {
        name: value
        for name, value in names.items()
        if not (name.startswith(NOT_WEIGHTS) or name in copies or (name in COUNTERS and len(names) > 1))
    }


def _prefix(name: str) -> str | None:
    """What stands before the first part that begins a network's name; None where none does."""
    parts = name.split(".")
    root = next((place for place, part in enumerate(parts[:-1]) if part in ROOTS), None)
    return None if root is None else ".".join(parts[:root])


def _either(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
