"""Measure a table: lone layers in rounds of shuffled order, then whole encoders that take turns, then the fit.

A lone layer's time is the least of its rounds, each the median of some calls in turn with other layers; an encoder's is
what a fifth of its calls stay below: close to the median on a machine that does nothing else, and still so where
something else comes between. What is measured is kept as it comes, and a measurement that was stopped goes on.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tggbc_ros.compress.latency.calibrate import calibrated
from tggbc_ros.compress.latency.engines import Engine, Lone, open_engine
from tggbc_ros.compress.latency.file import read_table, write_table
from tggbc_ros.compress.latency.places import dense_shape
from tggbc_ros.compress.latency.plan import grids, lone_layers, random_shapes, usual_step
from tggbc_ros.compress.latency.progress import Order, Progress
from tggbc_ros.compress.latency.setting import CAMERAS, Setting, versions
from tggbc_ros.compress.latency.table import LatencyTable
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.shape import Shape

SEED = 15
ROUNDS, REPEATS = 2, 5
"""Of every lone layer: how often it has a turn, and calls in each."""
ENCODERS = 20
"""Whole ones that the fit is made to, the dense one among them."""
SHEET_LAYERS, SHEET_BYTES = 48, 200 << 20
ENCODERS_BYTES = 2 << 30
"""Of the weights of encoders that are there at once."""
ENCODER_SECONDS, FEWEST_CALLS, MOST_CALLS = 60.0, 7, 60
"""For all encoders together, as far as the number of calls allows."""
QUIET_SHARE = 0.2


def measured(
    model: ModelConfig,
    engine: str,
    path: Path,
    step: int | None = None,
    grid: int | None = None,
    cameras: int = CAMERAS,
    device: str = "auto",
    seed: int = SEED,
    encoders: int = ENCODERS,
) -> LatencyTable:
    """The table of a model on an engine here: the one in the file, or else one that is measured now and written to it.

    step: between widths that are asked for; grid: between those that are measured, the step if not given. Threads are
    torch's. Raises ValueError in one line for a file of another setting or step, or an engine that cannot run here.
    """
    setting = Setting.here(model, engine, cameras, device)
    shape = dense_shape(model)
    step = step or usual_step(shape)
    order = Order(setting, step, max(grid or step, step), encoders, seed, versions(engine))
    if path.exists():
        return _expect_same(read_table(path, expect=setting), order, path)
    opened = open_engine(engine, model, cameras, device)
    progress = Progress.begin(path.with_name(f"{path.name}.partial"), order)
    try:
        _measure_layers(opened, lone_layers(shape, model.embed_dims, model.image_size, order.grid), progress)
        shapes = [shape, *random_shapes(shape, step, encoders - 1, seed)]
        _measure_encoders(opened, shapes, progress)
    finally:
        progress.save(now=True)
    best = {lone: min(times) for lone, times in progress.times_us.items()}
    table = LatencyTable(setting, shape, model.embed_dims, step, grids(best), said=_said(order))
    table = calibrated(table, shapes, progress.encoders_ms)
    write_table(table, path)
    progress.remove()
    return table


def encoder_times_ms(engine: Engine, shapes: Sequence[Shape], tick: Callable[[], object] = lambda: None) -> list[float]:
    """Times of whole encoders that take turns, each round in another order; tick is called after each round.

    The number of rounds follows from the time of the first.
    """
    calls = [engine.encoder(shape) for shape in shapes]
    for call in calls:
        call()
    once = sum(_call_ms(call) for call in calls) / 1e3
    count = int(np.clip(ENCODER_SECONDS / max(once, 1e-6), FEWEST_CALLS, MOST_CALLS))
    taken = np.zeros((count, len(calls)))
    for turn, times in enumerate(taken):
        for place in np.random.default_rng(turn).permutation(len(calls)):
            times[place] = _call_ms(calls[place])
        tick()
    return [float(each) for each in np.quantile(taken, QUIET_SHARE, axis=0)]


def _measure_layers(engine: Engine, layers: Sequence[Lone], progress: Progress) -> None:
    """Every layer's turn in every round, each round in an order of its own."""
    setting = progress.order.setting
    done = sum(min(len(progress.times_us.get(each, ())), ROUNDS) for each in layers)
    with tqdm(total=ROUNDS * len(layers), initial=done, unit="layer", desc="lone layers", disable=None) as bar:
        for turn in range(ROUNDS):
            left = [each for each in layers if len(progress.times_us.get(each, ())) <= turn]
            np.random.default_rng((progress.order.seed, turn)).shuffle(left)  # type: ignore[arg-type]
            for sheet in sheets(left, setting.cameras):
                for lone, us in zip(sheet, engine.times_us(sheet, REPEATS), strict=True):
                    progress.times_us.setdefault(lone, []).append(us)
                bar.update(len(sheet))
                progress.save()


def sheets(layers: Sequence[Lone], cameras: int) -> Iterator[list[Lone]]:
    """In the order given, as many at once as memory allows."""
    sheet: list[Lone] = []
    size = 0
    for each in layers:
        adds = each.size_bytes(cameras)
        if sheet and (len(sheet) == SHEET_LAYERS or size + adds > SHEET_BYTES):
            yield sheet
            sheet, size = [], 0
        sheet.append(each)
        size += adds
    if sheet:
        yield sheet


def _measure_encoders(engine: Engine, shapes: Sequence[Shape], progress: Progress) -> None:
    """Whole encoders, as many at once as memory allows."""
    many = max(2, ENCODERS_BYTES // _weight_bytes(shapes[0]))
    with tqdm(total=len(shapes), initial=len(progress.encoders_ms), unit="encoder", disable=None) as bar:
        while len(progress.encoders_ms) < len(shapes):
            begin = len(progress.encoders_ms)
            some = shapes[begin : begin + many]
            bar.set_description(f"{len(some)} whole encoders in turn")
            progress.encoders_ms += encoder_times_ms(engine, some, bar.refresh)
            bar.update(len(some))
            progress.save(now=True)


def _weight_bytes(shape: Shape) -> int:
    """About as many as an encoder of that shape takes in an engine, which keeps weights twice."""
    from tggbc_ros.compress import layout

    widths = layout.widths(shape)
    numbers = sum(
        layer.kernel**2 * widths[layer.group] * sum(widths[group] for group in layer.reads)
        for layer in layout.layers(shape)
    )
    return 8 * numbers


def _call_ms(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def _said(order: Order) -> dict[str, object]:
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "seed": order.seed,
        "versions": dict(order.versions),
        "measured": {"every": order.grid, "rounds": ROUNDS, "calls": REPEATS, "encoders": order.encoders},
    }


def _expect_same(table: LatencyTable, order: Order, path: Path) -> LatencyTable:
    if table.step != order.step:
        raise ValueError(f"{path} is there already, and its step is {table.step}, expected {order.step}")
    return table
