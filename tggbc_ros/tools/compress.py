"""Make a network cheaper to run: ``python -m tggbc_ros.tools.compress keygate | latency | slim | sparse``.

slim makes a network with a smaller image encoder (docs/slim.md), stage by stage; the next call goes on where one ended.
sparse sets single weights to zero (docs/sparse.md), likewise.
keygate fits the gate that chooses keys before the decoder begins (parameter start_ratio) to the decoder's attention,
on the frames of a data set, of which no label is read, or of bags, and writes it with the weights that it was fitted
for.
latency measures how long every layer of the image encoder takes at every pair of widths.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from tggbc_ros import backends
from tggbc_ros.compress import keygate
from tggbc_ros.compress.drives import of_bags, of_split
from tggbc_ros.compress.frames import Looked, look
from tggbc_ros.compress.latency import command as latency
from tggbc_ros.compress.slim import command as slim
from tggbc_ros.compress.sparse import command as sparse
from tggbc_ros.core.checkpoint import GATE_PREFIX, read_state_dict
from tggbc_ros.core.config import MODELS, PruningConfig, model_config
from tggbc_ros.core.detector import Network
from tggbc_ros.core.key_gate import KeyGate
from tggbc_ros.core.network_file import history_of, shape_in, write_network
from tggbc_ros.ros.param_file import from_file
from tggbc_ros.ros.params import Settings


def fit_keygate(given: argparse.Namespace) -> KeyGate:
    """Run the dense network, fit, judge, print, write. Raises ValueError for what is no use to fit on."""
    model = model_config(given.model)
    if given.out.suffix != ".safetensors":
        raise ValueError(f"out is {given.out}, expected a name that ends in .safetensors")
    weights = backends.choose_weights(model, given.checkpoint, allow_random_weights=False)
    assert weights is not None  # choose_weights raises else
    if weights.is_dir():
        raise ValueError(f"checkpoint {weights} is an export: fit on the file with the weights, then export anew")
    network = backends.load_network("torch", model, given.checkpoint, given.device)
    looked = _look(network, given)
    fitted, judged = keygate.split(looked)
    cells = len(looked[0].features)
    rows, columns = model.feature_size
    with tqdm(total=2 * given.steps, unit="step", desc="fitting", disable=None) as bar:
        gate = keygate.fit(model, cells // (rows * columns), fitted, given.seed, given.hidden, given.steps, bar.update)
    quality = keygate.judge(gate, judged)
    print(
        f"fitted on {len(fitted)} frames; on {quality.frames} others: rank correlation {quality.rank_correlation:.3f}, "
        f"importance held by the top 0.3 {quality.held:.3f}"
    )
    if network.gate is not None and network.gate.cameras == gate.cameras:
        before = keygate.judge(network.gate, judged)
        print(f"the gate before: {before.rank_correlation:.3f}, {before.held:.3f}")
    write_with_weights(gate, weights, given.out)
    print(f"written to {given.out}")
    return gate


def write_with_weights(gate: KeyGate, weights: Path, out: Path) -> None:
    """A checkpoint with the same weights, shape and history, and this gate in place of one that it had."""
    state = {key: value for key, value in read_state_dict(weights).items() if not key.startswith(GATE_PREFIX)}
    state |= {f"{GATE_PREFIX}{key}": value.half() for key, value in gate.state_dict().items()}
    state = {key: value.clone().contiguous() for key, value in state.items()}
    write_network(state, out, shape_in(weights, gate.model), history_of(weights))


def _look(network: Network, given: argparse.Namespace) -> list[Looked]:
    """The drives that were asked for, through the dense network."""
    if given.bag:
        settings = from_file(given.params) if given.params else Settings()
        drives, total = of_bags(given.bag, settings, network.model, given.frames), given.frames
    elif given.data and given.split:
        drives, total = of_split(given.data, given.version, given.split, given.sweeps, given.frames)
    else:
        raise ValueError("there is nothing to fit on, expected --data DIR --split NAME, or --bag BAG")
    with tqdm(total=total, unit="frame", desc="dense network", disable=None) as bar:
        return look(network, drives, bar.update, PruningConfig.queries)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tggbc_ros.tools.compress", description=(__doc__ or "").splitlines()[0])
    jobs = parser.add_subparsers(dest="job", required=True)
    gate = jobs.add_parser("keygate", help="fit the gate that chooses keys before the decoder begins")
    add = gate.add_argument
    add("--model", choices=list(MODELS), required=True)
    add("--checkpoint", type=Path, metavar="FILE", help="weights; without, the model's own")
    source = gate.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="DIR", help="data set in nuScenes' v1.0 schema; no label is read")
    source.add_argument("--bag", type=Path, nargs="+", metavar="BAG", help="bags with images and poses instead")
    add("--version", metavar="NAME", help="which version, if there are several")
    add("--split", metavar="NAME", help="with --data: official, or one of the version's splits.json")
    add("--params", type=Path, metavar="FILE", help="with --bag: the node's parameter file, for topics and frames")
    add("--sweeps", action="store_true", help="every set of images (12 Hz), not the keyframes alone")
    add("--out", type=Path, required=True, metavar="FILE.safetensors", help="for the weights and the gate")
    add("--frames", type=_positive, default=512, metavar="N", help="at most, of evenly chosen drives (%(default)s)")
    add("--seed", type=int, default=0)
    add("--hidden", type=_positive, default=keygate.HIDDEN, metavar="N", help="width of the gate (%(default)s)")
    add("--steps", type=_positive, default=keygate.STEPS, metavar="N", help="in each of two rounds (%(default)s)")
    add("--device", default="auto", help="cpu, cuda, cuda:1 or auto (default)")
    gate.set_defaults(run=fit_keygate)
    latency.add_parser(jobs)
    slim.register(jobs)
    sparse.register(jobs)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"is {number}, expected at least 1")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 and one line on standard error where it fails."""
    given = _parser().parse_args(arguments)
    try:
        given.run(given)
    except (OSError, ValueError, ImportError, ArithmeticError) as error:
        print(f"compress: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("compress: interrupted; the same command goes on from what is done", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
