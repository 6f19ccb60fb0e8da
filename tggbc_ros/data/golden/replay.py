"""Play a recorded case through our network, frame by frame, and name the results as the recording does."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tggbc_ros.core import memory as temporal
from tggbc_ros.core.checkpoint import load_into, to_official
from tggbc_ros.core.config import MODELS, DecodeConfig, PreprocessConfig
from tggbc_ros.core.decode import decode_boxes
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import AlignedMemory, Memory, NetworkInput, NetworkOutput, Tokens
from tggbc_ros.data.golden.cases import AnyArray, GoldenFile, GoldenFrame
from tggbc_ros.data.golden.checks import LOOSE, REAL_FRAME, ROUNDING, Check, Tolerances, largest_difference
from tggbc_ros.data.golden.formula_weights import formula_weights
from tggbc_ros.data.nuscenes.sample_folder import moved, read_sample_folder
from tggbc_ros.data.records import Sample

EQUAL_PIXELS = 1e-5
GREY_LEVELS = 2.0
MATRIX = 1e-3  # of numbers up to about 1e3, in float32


@dataclass(frozen=True, eq=False)
class FrameInput:
    """What a case gives the head in one frame.

    features: recorded, or from our backbone and neck. lidar2global: [1, 4, 4] and time_s: [1], float64.
    checks: of what we made ourselves, from a sample folder, against what was recorded.
    """

    network: NetworkInput
    features: torch.Tensor
    lidar2global: torch.Tensor
    time_s: torch.Tensor
    checks: tuple[Check, ...] = ()

    @property
    def pixels_differ(self) -> bool:
        """Whether images were decoded otherwise than when the case was recorded."""
        return any(check.output == "in.img_every8" and check.error > EQUAL_PIXELS for check in self.checks)


@dataclass(frozen=True, eq=False)
class Step:
    """One frame of a case, recorded and computed; memory before and after it."""

    frame: GoldenFrame
    given: FrameInput
    tolerances: Tolerances
    tokens: Tokens
    before: Memory
    aligned: AlignedMemory
    output: NetworkOutput
    after: Memory


@functools.cache
def formula_network(name: str, salt: str) -> StreamPETR:
    """A shipped model with formula weights."""
    module = StreamPETR(MODELS[name]).eval().requires_grad_(False)
    shapes = {key: tuple(value.shape) for key, value in to_official(module).items()}
    load_into(module, {key: torch.from_numpy(value) for key, value in formula_weights(shapes, salt).items()})
    return module


def run(golden: GoldenFile, sample_folder: Path) -> Iterator[Step]:
    """Play a case through the network, frame by frame, memory included."""
    model, pruning = golden.model, golden.pruning
    module = formula_network(model.name, golden.salt)
    frames = (
        sample_inputs(golden, module, sample_folder) if golden.kind == "sample" else recorded_inputs(golden, module)
    )
    memory: Memory | None = None
    for index, (frame, given) in enumerate(zip(golden.frames, frames, strict=True)):
        pose, time_s = given.lidar2global, given.time_s
        if memory is None or not frame.inputs["prev_exists"].any():
            memory = temporal.start(model, module.head.queries.start_points(), pose, time_s)
        with torch.inference_mode():
            aligned = temporal.align(memory, pose, time_s, model.memory_length)
            tokens = module.embed(given.features, module.rays(given.network))
            output = module.decode(tokens, aligned, pruning, all_layers=True)
            after = temporal.push(memory, output, model, pose, time_s)
        tolerances = tolerances_of(golden, index, given)
        yield Step(frame, given, tolerances, tokens, memory, aligned, output, after)
        follows = index + 1 < len(golden.frames)
        forced = follows and (golden.is_far(index + 1) or order_is_uncertain(frame, tolerances))
        memory = recorded_memory(frame, output, memory) if forced else after


def tolerances_of(golden: GoldenFile, index: int, given: FrameInput) -> Tolerances:
    """Rounding alone, unless the pixels differ or the original's own poses had lost precision."""
    if golden.is_far(index) or given.pixels_differ:
        return LOOSE
    return REAL_FRAME if golden.kind == "sample" else ROUNDING


def order_is_uncertain(frame: GoldenFrame, tolerances: Tolerances) -> bool:
    """Whether rounding may have swapped memory rows, which would permute the queries of every later frame."""
    gaps = [frame.margins.get(name, np.inf) for name in ("mem_min_adjacent_gap", "mem_cut_gap")]
    return bool(min(gaps) < tolerances.score)


def recorded_memory(frame: GoldenFrame, output: NetworkOutput, before: Memory) -> Memory:
    """Memory as the original had it after a frame; embeddings that a file leaves out come from our output."""
    recorded = {name: torch.from_numpy(array) for name, array in frame.outputs.items() if name.startswith("memory_")}
    embedding = recorded.get("memory_embedding")
    if embedding is None:
        rows = torch.from_numpy(frame.outputs["mem_topk_query"]).long()
        kept = recorded["memory_timestamp"].shape[1] - len(rows)
        embedding = torch.cat([output.embedding[:, rows], before.embedding[:, :kept]], dim=1)
    return Memory(
        embedding=embedding,
        reference_point=recorded["memory_reference_point"].double(),
        timestamp_s=-recorded["memory_timestamp"][..., 0].double(),
        lidar2global=recorded["memory_egopose"].double(),
        velocity=recorded["memory_velo"],
    )


@torch.inference_mode()
def recorded_inputs(golden: GoldenFile, module: StreamPETR) -> Iterator[FrameInput]:
    """Inputs as the file has them: images or features, matrices, pose and time."""
    height, width = golden.model.image_size
    for index, frame in enumerate(golden.frames):
        matrices = {name: torch.from_numpy(frame.inputs[name]) for name in ("intrinsics", "lidar2img", "ego_pose")}
        recorded = golden.images(index)
        cameras = matrices["lidar2img"].shape[1]
        images = torch.zeros(1, cameras, 3, height, width) if recorded is None else torch.from_numpy(recorded)
        yield FrameInput(
            network=NetworkInput(images, matrices["intrinsics"][..., :3, :3].contiguous(), matrices["lidar2img"]),
            features=torch.from_numpy(golden.features(index)) if recorded is None else module.encode(images),
            lidar2global=matrices["ego_pose"].double(),
            time_s=torch.from_numpy(frame.inputs["timestamp"]),
        )


@torch.inference_mode()
def sample_inputs(golden: GoldenFile, module: StreamPETR, folder: Path) -> Iterator[FrameInput]:
    """Inputs made from the images and calibration of a sample folder, and checked against the recorded ones.

    The vehicle moves; the images, and what the vehicle's motion between them does to their matrices, stay.
    """
    samples = moved_samples(golden, folder)
    inputs = preprocess(samples[0].camera_frame(), golden.model, "cpu", PreprocessConfig("exact"))
    features = module.encode(inputs.images)
    for frame, sample in zip(golden.frames, samples, strict=True):
        yield FrameInput(
            network=inputs,
            features=features,
            lidar2global=torch.from_numpy(sample.lidar2global)[None],
            time_s=torch.tensor([sample.timestamp_ns / 1e9], dtype=torch.float64),
            checks=tuple(_check_sample_input(golden, frame, sample, inputs)),
        )


def moved_samples(golden: GoldenFile, folder: Path) -> list[Sample]:
    """One sample a frame: the same six images, the vehicle moved as the case says."""
    samples = [read_sample_folder(folder)]
    for motion in golden.meta["motions_dx_m_dyaw_rad_dt_s"]:
        samples.append(moved(samples[-1], *motion))
    return samples


def _check_sample_input(
    golden: GoldenFile, frame: GoldenFrame, sample: Sample, inputs: NetworkInput
) -> Iterator[Check]:
    recorded = frame.inputs
    pixels = inputs.images[..., ::8, ::8].numpy()
    levels = GREY_LEVELS / min(golden.model.std)
    time_error = abs(sample.timestamp_ns / 1e9 - float(recorded["timestamp"][0]))
    pose = sample.lidar2global[None]
    yield Check("in.img_every8", largest_difference(pixels, golden.arrays["in.img_every8"]), levels)
    yield Check("in.lidar2img", largest_difference(inputs.lidar2img.numpy(), recorded["lidar2img"]), MATRIX)
    intrinsics = recorded["intrinsics"][..., :3, :3]
    yield Check("in.intrinsics", largest_difference(inputs.intrinsics.numpy(), intrinsics), MATRIX)
    yield Check("in.ego_pose", largest_difference(pose, recorded["ego_pose"]), MATRIX)
    yield Check("in.timestamp", time_error, 1e-6)


def original_alignment(memory: Memory, frame: GoldenFrame, length: int) -> AlignedMemory:
    """`memory.align` in float32 throughout, with the recorded inverse pose."""
    global2lidar = torch.from_numpy(frame.inputs["ego_pose_inv"])
    reference = memory.reference_point[:, :length].float()
    time_s = torch.from_numpy(frame.inputs["timestamp"])
    return AlignedMemory(
        embedding=memory.embedding[:, :length],
        reference_point=reference @ global2lidar[:, :3, :3].transpose(1, 2) + global2lidar[:, None, :3, 3],
        age_s=(time_s[:, None] - memory.timestamp_s[:, :length]).float(),
        pose=global2lidar[:, None] @ memory.lidar2global[:, :length].float(),
        velocity=memory.velocity[:, :length],
    )


def outputs_by_name(step: Step) -> dict[str, AnyArray]:
    """Our results under the names and in the conventions of the golden files."""
    output, memory, boxes = step.output, step.after, decode_boxes(step.output, DecodeConfig())
    scores = output.logits[-1, 0].sigmoid().flatten().sort(descending=True).values.numpy()
    top = temporal.most_confident(output.logits[-1], len(step.frame.outputs["mem_topk_query"]))
    gravity = np.concatenate([boxes.center, boxes.size, boxes.yaw[:, None], boxes.velocity], axis=1)
    bottom = gravity.copy()
    bottom[:, 2] -= boxes.size[:, 2] / 2
    named = {
        "all_cls_scores": output.logits.numpy(),
        "all_bbox_preds": output.codes.numpy(),
        "memory_embedding": memory.embedding.numpy(),
        "memory_reference_point": memory.reference_point.numpy(),
        "memory_timestamp": -memory.timestamp_s.numpy()[..., None],
        "memory_egopose": memory.lidar2global.numpy(),
        "memory_velo": memory.velocity.numpy(),
        "mem_topk_query": top[0].numpy(),
        "dec_boxes_gravity": gravity,
        "dec_boxes_bottom": bottom,
        "dec_scores": boxes.score,
        "dec_labels": boxes.label,
        "dec_topk_query": boxes.query,
        "dec_topk_label": boxes.label,
        "dec_topk_score": scores[: len(step.frame.outputs["dec_topk_score"])],
        "img_feats": step.given.features.numpy(),
        "img_feats_stride4": step.given.features[:, :, ::4, ::2, ::2].numpy(),
    }
    for layer, trim in output.trims.items():
        importance = np.full(step.tokens.index.shape[1], np.nan)
        importance[trim.seen[0].numpy()] = trim.importance[0].numpy()
        named[f"gbc.layer{layer}.importance"] = importance
        named[f"gbc.layer{layer}.kept"] = trim.kept[0].numpy()
        named[f"gbc.layer{layer}.queries"] = trim.queries[0].numpy()
    return named


@torch.inference_mode()
def parts_by_name(module: StreamPETR, step: Step, golden: GoldenFile) -> dict[str, AnyArray]:
    """Tensors inside the head, under the names of the golden files."""
    head = module.head
    rays, queries = module.rays(step.given.network), head.queries(step.aligned)
    layers = head.decoder(queries, step.tokens, golden.pruning, head.cls_branch).outputs
    flat = step.given.features.permute(0, 1, 3, 4, 2).flatten(1, 3)
    parts = {
        "cone": rays.cone,
        "pos_embed_raw": rays.position,
        "memory_embedded": head.position.memory_embed(flat),
        "memory_aligned": step.tokens.value,
        "pos_embed": head.position.featurized(rays.position, step.tokens.value),
        "tgt": queries.content,
        "query_pos": queries.position,
        "reference_points": queries.reference,
        "temp_memory": queries.memory,
        "temp_pos": queries.memory_position,
        **{f"outs_dec_l{index}": layer for index, layer in enumerate(layers)},
    }
    return {name: part.numpy() for name, part in parts.items()}
