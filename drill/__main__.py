"""Put the node through every fault, or through half an hour at full rate.

python -m drill [--short] [--only NAME ...] [--model demo] [--soak [MINUTES]]

Writes OUT/drill.json, one entry a fault (with --soak OUT/soak.json), prints a table; exit status 1 if one failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.ros_transport import PROFILE, profile
from drill.soak import soak
from drill.table import FAULTS, Fault, run
from drill.verdict import Row
from tggbc_ros.core.config import MODELS

SOAK_MINUTES = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Drill, print, write."""
    parser = _parser()
    options = parser.parse_args(arguments)
    chosen = [fault for fault in FAULTS if not options.only or any(word in fault.name for word in options.only)]
    if not chosen:
        parser.error(f"--only {' '.join(options.only)} names none of: {', '.join(fault.name for fault in FAULTS)}")
    options.out.mkdir(parents=True, exist_ok=True)
    domain_id = int(os.environ.get("ROS_DOMAIN_ID") or os.getpid() % 100 + 1)
    with profile(PROFILE):  # as the launch files start the node
        if options.soak is not None:
            return _soak(options, domain_id)
        return _drill(chosen, options, domain_id)


def _soak(options: argparse.Namespace, domain_id: int) -> int:
    result = soak(options.soak, domain_id, options.out / "soak", options.model)
    _write(options.out / "soak.json", result)
    print(json.dumps(result, indent=1))
    return 0 if result["pass"] else 1


def _drill(chosen: Sequence[Fault], options: argparse.Namespace, domain_id: int) -> int:
    rows = []
    print(_line("fault", "sets in", "published", "recovered", "result", "drops and resets"))
    for row in run(chosen, not options.short, domain_id, options.out / "drill", options.model):
        print(_text(row), flush=True)
        rows.append(row)
        _write(options.out / "drill.json", [each.as_json() for each in rows])
    failed = [row.fault for row in rows if row.problems]
    print(f"{len(rows) - len(failed)} of {len(rows)} faults passed; written to {options.out / 'drill.json'}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m drill", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--out", type=Path, default=Path("out"), metavar="FOLDER")
    add("--short", action="store_true", help="as much of each fault as the tests have")
    add("--only", nargs="+", default=[], metavar="WORD", help="faults whose names contain one of these")
    add("--model", choices=["tiny", *MODELS], default="tiny", help="the network (default: one small enough for tests)")
    soak_help = f"full rate for so long instead of faults ({SOAK_MINUTES:g} if none is given)"
    add("--soak", nargs="?", type=float, const=SOAK_MINUTES, metavar="MINUTES", help=soak_help)
    return parser


def _text(row: Row) -> str:
    books, recovered = row.books, "-" if row.recovered_after_sets is None else row.recovered_after_sets
    result = "pass" if not row.problems else "FAILED"
    causes = _counts(books.drops) + _counts({f"reset: {cause}": count for cause, count in books.resets.items()})
    line = _line(row.fault, books.sets_in, books.published, recovered, result, ", ".join(causes))
    return "\n    ".join([line, *row.problems])


def _counts(counts: Mapping[str, int]) -> list[str]:
    return [f"{cause} {count}" for cause, count in sorted(counts.items())]


def _line(*cells: object) -> str:
    name, *numbers, rest = map(str, cells)
    return "  ".join([name.ljust(28), *(cell.rjust(9) for cell in numbers), rest]).rstrip()


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
