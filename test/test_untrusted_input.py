"""Files and parameters are data: nothing in the package runs what it reads, or hands it to a shell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for folder in ("tggbc_ros", "launch", "bench") for path in (REPOSITORY / folder).rglob("*.py"))
FORBIDDEN = {
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "torch.hub.load",
    "yaml.load",
    "yaml.load_all",
    "yaml.full_load",
    "yaml.unsafe_load",
}
REQUIRED = {"torch.load": ("weights_only", True)}
NEVER = {"allow_pickle": True, "shell": True}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call by the name that it is written with."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield ast.unparse(node.func), node


def complaints(path: Path) -> list[str]:
    found = []
    for name, call in calls(path):
        options = {each.arg: each.value.value for each in call.keywords if isinstance(each.value, ast.Constant)}
        if name in FORBIDDEN:
            found.append(f"{path.name}:{call.lineno} calls {name}")
        option, value = REQUIRED.get(name, (None, None))
        if option and options.get(option) is not value:
            found.append(f"{path.name}:{call.lineno} calls {name} without {option}={value}")
        found += [
            f"{path.name}:{call.lineno} has {key}={value}" for key, value in NEVER.items() if options.get(key) is value
        ]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_nothing_read_is_run(path: Path) -> None:
    assert complaints(path) == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("torch.load(path)", "without weights_only=True"),
        ("torch.load(path, weights_only=False)", "without weights_only=True"),
        ("np.load(path, allow_pickle=True)", "has allow_pickle=True"),
        ("subprocess.run(command, shell=True)", "has shell=True"),
        ("yaml.load(text)", "calls yaml.load"),
        ("pickle.loads(data)", "calls pickle.loads"),
    ],
)
def test_the_check_sees_what_it_is_for(tmp_path: Path, line: str, complaint: str) -> None:
    source = tmp_path / "bad.py"
    source.write_text(f"import torch\n{line}\n", encoding="utf-8")
    assert [complaint in each for each in complaints(source)] == [True]
