"""The stages that find a sparse network: curves, solve, prune."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

from tggbc_ros.compress.allocation import allocation
from tggbc_ros.compress.progress_bar import bar, each
from tggbc_ros.compress.slim.finding import place
from tggbc_ros.compress.slim.ledger import Job, read_json, write_json
from tggbc_ros.compress.sparse.assembly import assemble
from tggbc_ros.compress.sparse.choice import chosen, shares
from tggbc_ros.compress.sparse.context import Context
from tggbc_ros.compress.sparse.curves_file import Found, write_found
from tggbc_ros.compress.sparse.distortion import answers_of, measure
from tggbc_ros.compress.sparse.folded import unfold_into
from tggbc_ros.compress.sparse.levels import SPARSITIES, agreement, curve, probe_of
from tggbc_ros.compress.sparse.recording import Replay
from tggbc_ros.compress.sparse.writing import write
from tggbc_ros.core.network_file import history_of

KEPT = "tggbc_ros sparse kept 1"


def curving(context: Context) -> Job:
    """What each sparsity of each layer does to the detections."""
    given, path = context.settings, context.places.curves
    depends = calibration(context) | {"curves": given.curves, "order": given.order, "repair": given.repair}
    depends |= {"probed": given.probed} if given.curves == "measured" else {}

    def work() -> str:
        started = time.monotonic()
        found = _found(context)
        said = {"weights": context.weights, "model": given.model, **depends}
        write_found(path, found, given.curves, given.target, said)
        agree = "" if found.agreement is None else f"; rank correlation with measured {found.agreement:.3f}"
        weights = sum(found.sizes)
        words = f"{len(found.names)} layers of {weights} weights, {len(SPARSITIES)} sparsities each"
        return f"{words}{agree}; {len(context.moments)} frames, {time.monotonic() - started:.0f} s"

    return Job(f"curves {path.stem}", depends, {"dense network": given.checkpoint}, (path,), work)


def calibration(context: Context) -> dict[str, Any]:
    """What the study of the dense network depends on."""
    given = context.settings
    names = ("frames", "passes", "places", "confidence", "seed")
    return {"model": given.model, **place(given.train), **{name: getattr(given, name) for name in names}}


def _found(context: Context) -> Found:
    given, network = context.settings, context.folded
    parameters = dict(network.named_parameters())
    studied = context.studied
    probed = context.subject.some(given.probed)
    dense = answers_of(probed) if given.curves == "measured" else []
    predicted, measured = [], []
    with bar("curves", "layer", len(context.layers)) as shown:
        for layer in context.layers:
            if layer.module.startswith("head.") and probed.features is None and dense:
                probed.cache_features()  # the encoder is dense again
            probe = probe_of(probed, dense) if dense else None
            mine, other = curve(layer, parameters, studied[layer.name], given.order, given.repair, probe)
            predicted.append(mine)
            measured += [other] if dense else []
            shown.update()
    return Found(
        tuple(layer.name for layer in context.layers),
        tuple(layer.size for layer in context.layers),
        tuple(studied[layer.name].positions for layer in context.layers),
        context.item,
        predicted,
        measured,
        agreement(predicted, measured) if measured else None,
    )


def solving(context: Context) -> Job:
    """Weights that each layer keeps."""
    given, places = context.settings, context.places
    depends = {"method": given.method, "target": given.target, "of": given.counted, "curves": given.curves}

    def work() -> str:
        found = context.found()
        curves = found.curves(given.curves)
        started = time.monotonic()
        kept = chosen(
            given.method, curves, given.counted, given.target, context.layers, context.arrays(), found.positions,
            found.item,
        )  # fmt: skip
        seconds = time.monotonic() - started
        left = shares(kept, context.layers, found.positions, found.item)
        summed = None
        if given.method == "dm3d":
            rows = curves.kept["weights"]
            index = [row.tolist().index(kept[name]) for row, name in zip(rows, found.names, strict=True)]
            summed = allocation(curves, given.counted, index).distortion
        sizes = dict(zip(found.names, found.sizes, strict=True))
        write_json(
            places.kept,
            {"format": KEPT, "weights": context.weights, **depends, "kept": kept, "sizes": sizes, "left": left,
             "summed": summed, "seconds": round(seconds, 3)},
        )  # fmt: skip
        words = ", ".join(f"{value:.3f} of {of}" for of, value in left.items())
        return f"{words} left" + (f"; distortions add up to {summed:.4g}" if summed is not None else "")

    return Job(f"{given.name}/solve", depends, {"curves": places.curves}, (places.kept,), work)


def read_kept(path: Path, context: Context) -> dict[str, Any]:
    """What `solving` wrote; raises ValueError naming the file where it is damaged, or of another network."""
    said = read_json(path, KEPT)
    if said.get("weights") != context.weights:
        raise ValueError(f"{path} is of weights {said.get('weights')}, expected {context.weights}")
    kept, sizes = said.get("kept"), {layer.name: layer.size for layer in context.layers}
    if not isinstance(kept, dict) or kept.keys() != sizes.keys():
        raise ValueError(f"{path} does not say what each of the network's {len(sizes)} layers keeps")
    for name, count in kept.items():
        if type(count) is not int or not 0 <= count <= sizes[name]:
            raise ValueError(f"{path}: {name} keeps {count!r}, expected 0 to {sizes[name]}")
    return said


def pruning(context: Context) -> Job:
    """The sparse network, and what it does to the detections all in all."""
    given, places = context.settings, context.places
    depends = calibration(context) | {"order": given.order, "repair": given.repair}

    def work() -> str:
        said = read_kept(places.kept, context)
        kept = said["kept"]
        dense = answers_of(context.subject)
        sparse = copy.deepcopy(context.folded)
        with bar("repairing", "layer", len(context.layers)) as shown:
            assemble(
                sparse, context.moments, context.layers, context.studied, kept, given.order, given.repair, each(shown)
            )
        network = copy.deepcopy(context.dense)
        unfold_into(network, sparse)
        joint = measure(Replay(sparse, context.moments, given.confidence), dense)
        step = {"step": "sparse", "method": given.method, "target": given.target, "of": given.counted,
                "order": given.order, "repair": given.repair, "kept": round(said["left"]["weights"], 6),
                "frames": len(context.moments), "summed": said["summed"], "joint": joint}  # fmt: skip
        write(network, places.pruned, [*history_of(given.checkpoint), step], given.checkpoint)
        alone = "" if said["summed"] is None else f", layer by layer {said['summed']:.4g}"
        return f"distortion {joint:.4g} all in all{alone}"

    reads = {"dense network": given.checkpoint, "kept": places.kept}
    return Job(f"{given.name}/prune", depends, reads, (places.pruned,), work)
