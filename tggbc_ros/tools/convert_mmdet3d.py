"""Between mmdet3d and the node: configs, checkpoints, annotation files. docs/mmdet3d.md tells what for.

config OLD NEW: a config of StreamPETR's or tgGBC's own plugin -> one for tggbc_ros.mmdet3d_plugin. checkpoint OLD NEW:
weights -> load_from of an mmdet3d config (NEW ends in .pth) or the node's (.safetensors). backbone OLD NEW: the same,
of a file that has a backbone alone. infos ROOT SPLIT NEW: mmdet3d's annotation file of a nuScenes-schema data set.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tggbc_ros.core.config import MODELS, model_config
from tggbc_ros.core.network_file import history_of

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "mmdet3d"
MISSING = "this needs mmdet3d, mmdet, mmcv and mmengine: make test-mmdet3d sets them up, docs/mmdet3d.md tells how else"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; exit status 0, or 2 with one line that says what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except ModuleNotFoundError as error:
        print(f"convert_mmdet3d: no module {error.name}: {MISSING}", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"convert_mmdet3d: {error}", file=sys.stderr)
        return 2
    return 0


def convert_config(options: argparse.Namespace) -> None:
    """Write the new config, and say what of the old one it does not have."""
    from tggbc_ros.mmdet3d_plugin import old_config

    converted = old_config.convert_config(options.old, options.new, options.base)
    options.new.parent.mkdir(parents=True, exist_ok=True)
    options.new.write_text(converted.text, encoding="utf-8")
    print(f"wrote {options.new}; what {options.old.name} has and it has not:")
    for line in converted.left_out:
        print(f"  {line}")


def convert_checkpoint(options: argparse.Namespace) -> None:
    """Read weights by whatever names, write them by the node's."""
    from tggbc_ros.mmdet3d_plugin import checkpoints, parts
    from tggbc_ros.training.weights import export

    model, told_by = model_config(options.model), options.shape_of or options.old
    model = parts.shaped_as(model, options.shape_of) if options.shape_of else model
    module = checkpoints.read_weights(options.old, model)
    if options.new.suffix == ".safetensors":
        export(module, options.new, history_of(told_by))
    else:
        checkpoints.write_mmengine(module.state_dict(), options.new)
    print(f"wrote {options.new}")
    if module.model.shape is not None and options.new.suffix == ".pth":
        print(f"its backbone was cut, which such a file does not tell: a config needs shape={str(told_by)!r}")


def convert_backbone(options: argparse.Namespace) -> None:
    """The same for a backbone alone, to begin a training with."""
    from tggbc_ros.mmdet3d_plugin import checkpoints

    checkpoints.write_mmengine(checkpoints.read_backbone(options.old, model_config(options.model)), options.new)
    print(f"wrote {options.new}")


def write_infos(options: argparse.Namespace) -> None:
    """Write an annotation file."""
    from tggbc_ros.mmdet3d_plugin import infos

    count = infos.write_infos(options.root, options.split, options.new)
    print(f"wrote {options.new}: {count} keyframes")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tggbc_ros.tools.convert_mmdet3d", description=__doc__)
    commands = parser.add_subparsers(required=True)
    config = commands.add_parser("config", help="a config of the old plugins")
    config.add_argument("old", type=Path)
    config.add_argument("new", type=Path)
    config.add_argument("--base", type=Path, default=SHIPPED, help="folder of the shipped configs (%(default)s)")
    config.set_defaults(run=convert_config)
    for name, run in (("checkpoint", convert_checkpoint), ("backbone", convert_backbone)):
        weights = commands.add_parser(name, help=f"weights of a {'network' if name == 'checkpoint' else name}")
        weights.add_argument("old", type=Path)
        weights.add_argument("new", type=Path)
        weights.add_argument("--model", choices=sorted(MODELS), required=True)
        weights.set_defaults(run=run)
        if name == "checkpoint":
            shape_help = "whose backbone's shape OLD has, where that was cut and OLD is a .pth, which does not tell"
            weights.add_argument("--shape-of", type=Path, metavar="FILE.safetensors", help=shape_help)
    infos = commands.add_parser("infos", help="an annotation file")
    infos.add_argument("root", type=Path)
    infos.add_argument("split")
    infos.add_argument("new", type=Path)
    infos.set_defaults(run=write_infos)
    return parser


if __name__ == "__main__":
    sys.exit(main())
