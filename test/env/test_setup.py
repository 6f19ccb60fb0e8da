"""The set-up's refusals and its memory of what is finished, on a copy of the scripts and with stand-in programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("run", "env", "msg", "config", "launch", "CMakeLists.txt", "package.xml")
TOOLS = "bash env cat cp cut awk sed grep find sha256sum readlink dirname mkdir rm ln touch tail flock true"
# A Python that answers as this one does, but whose virtual environments hold a pip that fails.
FAILING_PIP = """#!/bin/sh
case "$*" in
    "-m venv "*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python";;
    *"-m pip"*) echo "no network" >&2; exit 1;;
    *) exec {python} "$@";;
esac
"""


@dataclass(frozen=True)
class Checkout:
    """A copy of the checkout's set-up, run with only the programs in ``bin`` on the path."""

    root: Path
    bin: Path

    def provide(self, name: str, text: str) -> None:
        """Put a script in place of a program."""
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def run(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """``./run true``, and what it says."""
        clean = {"PATH": str(self.bin), "HOME": str(self.root)}
        command = [str(self.root / "run"), "true"]
        return subprocess.run(command, env=clean | variables, capture_output=True, text=True, timeout=60)

    def shell(self, line: str) -> str:
        """A line of bash with the set-up's own functions at hand."""
        script = f"repo={self.root}; source $repo/env/common.sh; {line}"
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A copy with every tool there but the ones a test takes away or replaces."""
    made = Checkout(tmp_path / "checkout", tmp_path / "bin")
    made.root.mkdir()
    made.bin.mkdir()
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, made.root / name)
        else:
            shutil.copy(source, made.root / name)
    for tool in TOOLS.split():
        (made.bin / tool).symlink_to(shutil.which(tool) or f"/no/{tool}")
    for program in ("c++", "make"):
        made.provide(program, "#!/bin/sh\n")
    made.provide("uname", '#!/bin/sh\ncase "$1" in -m) echo x86_64;; *) echo Linux;; esac\n')
    made.provide("python3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    return made


def refusal(checkout: Checkout, **variables: str) -> str:
    """The one line a refused set-up leaves."""
    done = checkout.run(**variables)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


class TestRefusals:
    @pytest.mark.parametrize(("version", "reason"), [("3.9", "3.10 or newer"), ("2.7", "3.10 or newer")])
    def test_old_python(self, checkout: Checkout, version: str, reason: str) -> None:
        checkout.provide("python3", f"#!/bin/sh\necho {version}\n")
        assert f"python3 is Python {version}; {reason}" in refusal(checkout)

    def test_python_without_wheels(self, checkout: Checkout) -> None:
        checkout.provide("python3", "#!/bin/sh\necho 3.15\n")
        assert "python3 is Python 3.15; ROS 2 wheels exist for 3.10 to 3.14" in refusal(checkout)

    def test_no_python(self, checkout: Checkout) -> None:
        assert "python3.99 does not run; Python 3.10 or newer is needed" in refusal(checkout, PYTHON="python3.99")

    def test_python_that_cannot_import_the_sourced_ros(self, checkout: Checkout) -> None:
        checkout.provide("python3", '#!/bin/sh\ncase "$2" in *rclpy*) exit 1;; *) echo 3.12;; esac\n')
        assert "cannot import rclpy of ROS 2 jazzy" in refusal(checkout, ROS_DISTRO="jazzy")

    @pytest.mark.parametrize(("program", "package"), [("c++", "g++"), ("make", "make")])
    def test_missing_tool(self, checkout: Checkout, program: str, package: str) -> None:
        (checkout.bin / program).unlink()
        line = refusal(checkout)
        assert program in line
        assert line.endswith(f"apt install {package}\n")

    def test_all_that_is_missing_is_named_at_once(self, checkout: Checkout) -> None:
        for program in ("c++", "make"):
            (checkout.bin / program).unlink()
        assert refusal(checkout).endswith("apt install g++ make\n")

    def test_missing_python_headers(self, checkout: Checkout) -> None:
        headers = f"{sysconfig.get_path('include')}/Python.h"
        script = (
            f'#!/bin/sh\ncase "$2" in *get_path*include*) echo /no/headers;; *) exec {sys.executable} "$@";; esac\n'
        )
        checkout.provide("python3", script)
        assert Path(headers).is_file()
        assert refusal(checkout).endswith(
            "missing: /no/headers/Python.h, on Debian or Ubuntu: apt install python3-dev\n"
        )

    def test_other_processor(self, checkout: Checkout) -> None:
        checkout.provide("uname", '#!/bin/sh\ncase "$1" in -m) echo aarch64;; *) echo Linux;; esac\n')
        assert "wheels exist for x86_64, not aarch64" in refusal(checkout)

    def test_path_with_a_space(self, checkout: Checkout) -> None:
        moved = checkout.root.rename(checkout.root.with_name("check out"))
        assert "has a space in it" in refusal(Checkout(moved, checkout.bin))

    def test_a_foreign_venv_is_left_alone(self, checkout: Checkout) -> None:
        (checkout.root / ".venv").mkdir()
        (checkout.root / ".venv" / "mine").touch()
        assert "was not made by this set-up" in refusal(checkout)
        assert (checkout.root / ".venv" / "mine").exists()


class TestUnfinished:
    def test_a_failed_installation_is_said_kept_in_mind_and_begun_again(self, checkout: Checkout) -> None:
        checkout.provide("python3", FAILING_PIP.format(python=sys.executable))
        for _ in range(2):
            done = checkout.run()
            assert done.returncode == 1
            assert "making .venv" in done.stderr
            assert "no network" in done.stderr
            assert "installing the libraries failed" in done.stderr
            assert "ready" not in done.stderr
            assert (checkout.root / ".venv" / ".unfinished").exists()
            assert not (checkout.root / ".venv" / ".stamp").exists()

    def test_a_second_set_up_waits_for_the_first(self, checkout: Checkout) -> None:
        checkout.provide("python3", "#!/bin/sh\necho 3.9\n")
        held = f"exec 9<{checkout.root}/env; flock 9; echo held; read -r _"
        with subprocess.Popen(["bash", "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            second = subprocess.Popen(
                [str(checkout.root / "run"), "true"], env={"PATH": str(checkout.bin)}, stderr=subprocess.PIPE, text=True
            )
            assert second.stderr is not None
            assert "waiting for another set-up" in second.stderr.readline()
            holder.communicate(b"\n")
            assert "is Python 3.9" in second.communicate(timeout=30)[1]


class TestStamps:
    @pytest.mark.parametrize(
        "name", ["CMakeLists.txt", "package.xml", "msg/Count.msg", "env/interfaces/tf2_msgs/package.xml"]
    )
    def test_what_the_build_reads_makes_it_old(self, checkout: Checkout, name: str) -> None:
        before = checkout.shell("build_stamp")
        assert checkout.shell("build_stamp") == before
        with (checkout.root / name).open("a") as file:
            file.write("\n# changed\n")
        assert checkout.shell("build_stamp") != before

    def test_a_new_launch_file_makes_the_build_old_and_an_edit_does_not(self, checkout: Checkout) -> None:
        before = checkout.shell("build_stamp")
        with (checkout.root / "launch" / "detect.launch.py").open("a") as file:
            file.write("\n# changed\n")
        assert checkout.shell("build_stamp") == before
        (checkout.root / "launch" / "new.launch.py").touch()
        assert checkout.shell("build_stamp") != before

    def test_a_new_pin_makes_the_environment_old(self, checkout: Checkout) -> None:
        before = checkout.shell("venv_stamp")
        with (checkout.root / "env" / "pins.txt").open("a") as file:
            file.write("\nsome-library==1.0\n")
        assert checkout.shell("venv_stamp") != before

    def test_a_moved_checkout_and_another_ros_need_their_own(self, checkout: Checkout) -> None:
        before = checkout.shell("venv_stamp")
        moved = Checkout(checkout.root.rename(checkout.root.with_name("moved")), checkout.bin)
        assert moved.shell("venv_stamp") != before
        assert moved.shell("ROS_DISTRO=kilted; source $repo/env/common.sh; venv_stamp") != moved.shell("venv_stamp")

    def test_headings_divide_the_pins(self, checkout: Checkout) -> None:
        (checkout.root / "env" / "pins.txt").write_text("# about\n\n# [a]\nx==1\n\n# why\ny==2\n# [b]\nz==3\n")
        assert checkout.shell("pins a").split() == ["x==1", "y==2"]
        assert checkout.shell("pins b a").split() == ["z==3", "x==1", "y==2"]
        assert checkout.shell("pins none") == ""


def test_a_nested_call_keeps_the_environment() -> None:
    """``./run`` below ``./run`` adds nothing to the paths, and the caller's folder stays."""
    command = [str(REPOSITORY / "run"), "sh", "-c", "echo $PATH; pwd"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.splitlines() == [os.environ["PATH"], "/"]
