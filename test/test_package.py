"""The package as others see it: its manifest, its import rule, its built interfaces and programs."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Container, Iterator
from graphlib import TopologicalSorter
from importlib.metadata import distributions, packages_distributions
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ament_index_python.packages import get_package_prefix, get_package_share_directory
from catkin_pkg.packages import find_package_paths
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "tggbc_ros"
MANIFEST = ElementTree.parse(REPOSITORY / "package.xml").getroot()
CMAKE = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")

# Which parts of the package a part may import; all but tools, which nothing imports.
MAY_IMPORT = {
    "core": {"core"},
    "export": {"core", "export"},
    "backends": {"core", "backends", "export"},
    "data": {"core", "data"},
    "drawing": {"core", "drawing"},
    "ros": {"core", "backends", "data", "drawing", "ros", "msg"},
    "training": {"core", "data", "training"},
    "evaluation": {"core", "backends", "data", "drawing", "evaluation"},
    "compress": {"core", "backends", "data", "drawing", "training", "evaluation", "export", "ros", "compress"},
    "fleet": {"core", "backends", "compress", "data", "evaluation", "ros", "fleet"},
    "showcase": {"core", "data", "drawing", "evaluation", "ros", "showcase"},
    "mmdet3d_plugin": {"core", "data", "training", "mmdet3d_plugin"},
    "tools": {
        "core",
        "backends",
        "compress",
        "data",
        "drawing",
        "ros",
        "training",
        "evaluation",
        "export",
        "fleet",
        "showcase",
        "msg",
        "mmdet3d_plugin",
    },
}
# Which other rooms of its part a room may import; the modules beside them (ros/drops.py) are below all of these.
ROOMS_MAY_IMPORT = {
    "data": {"nuscenes": set(), "bags": set(), "drive": {"nuscenes"}, "golden": {"nuscenes"}, "foxglove": {"bags"}},
    "ros": {
        "images": set(),
        "poses": {"images"},
        "output": set(),
        "health": {"images", "output"},
        "bags": {"images", "poses"},
    },
}
WITHOUT_ROS = {"core", "backends", "export", "data", "drawing", "training", "evaluation"}
ABOVE_THE_ROOMS = {"ros/detector_node.py", "ros/frame_line.py"}
CORE_LIBRARIES = {"numpy", "torch"}
CORE_EXCEPTIONS = {"core/preprocess.py": {"PIL"}, "core/checkpoint.py": {"safetensors"}}
CORE_EXCEPTIONS["core/network_file.py"] = {"safetensors"}
IMPORTED_WHERE_USED = {"cv_bridge", "message_filters", "mmdet3d", "nuscenes", "onnxruntime", "tensorrt", "tf2_ros"}
IMPORTED_WHERE_USED |= {"mmcv", "mmdet", "mmengine", "nncf", "onnx", "onnxscript", "openvino", "vision_msgs"}
IMPORTED_WHERE_USED |= {"pyarrow", "ray"}
IS_ONE_THEMSELVES = {"mmdet3d_plugin"}  # whoever imports it asks for what it plugs into
# Module -> distribution, where a ROS 2 installation has the module from apt and nothing says whose it is.
WITHOUT_OWNER = {"cv2": "opencv-python-headless"}

# As the real packages' own builds state them.
PUBLISHED_HASHES = {
    "tf2_msgs/msg/TFMessage": "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    "vision_msgs/msg/Detection3D": "RIHS01_ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "vision_msgs/msg/Detection3DArray": "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
}

SOURCES = sorted(PACKAGE.rglob("*.py"))
OWN_MESSAGES = sorted(path.stem for path in (REPOSITORY / "msg").glob("*.msg"))


def dependencies(*tags: str) -> set[str]:
    """The names below these tags of package.xml."""
    return {element.text or "" for tag in tags for element in MANIFEST.findall(tag)}


def imports(node: ast.AST, top_level_only: bool = False) -> Iterator[str]:
    """Dotted names that a module imports; without those inside functions if only the top level is asked for."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            if child.level:
                raise ValueError(f"relative import in line {child.lineno}, expected an absolute one")
            module = child.module or ""
            yield from (f"{module}.{alias.name}" for alias in child.names)
        elif top_level_only and (isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(child)):
            continue
        else:
            yield from imports(child, top_level_only)


def nearest(name: str, modules: Container[str]) -> str | None:
    """The module that an imported name is, or is of."""
    if name in modules:
        return name
    parent = name.rpartition(".")[0]
    return parent if parent in modules else None


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def module_imports(path: Path, top_level_only: bool = False) -> list[str]:
    return list(imports(ast.parse(path.read_text(encoding="utf-8"), str(path)), top_level_only))


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


class TestManifest:
    def test_cmake_project_is_the_package(self) -> None:
        assert re.search(r"project\((\w+)\)", CMAKE)[1] == MANIFEST.findtext("name") == "tggbc_ros"

    def test_cmake_finds_only_declared_packages_and_all_of_them(self) -> None:
        plain, _, for_tests = CMAKE.partition("if(BUILD_TESTING)")
        found, tested = (set(re.findall(r"find_package\((\w+) REQUIRED\)", part)) for part in (plain, for_tests))
        assert found == dependencies("buildtool_depend", "build_depend", "depend")
        assert "launch_testing_ament_cmake" in tested <= dependencies("test_depend")

    def test_every_message_file_is_built(self) -> None:
        listed = re.findall(r"^\s+msg/(\w+)\.msg$", CMAKE, re.MULTILINE)
        assert sorted(listed) == OWN_MESSAGES

    def test_messages_are_declared_as_interfaces(self) -> None:
        assert dependencies("member_of_group") == {"rosidl_interface_packages"}
        assert MANIFEST.findtext("export/build_type") == "ament_cmake"
        assert "rosidl_default_runtime" in dependencies("exec_depend")

    def test_setup_py_has_the_manifests_version_and_the_changelog_names_it(self) -> None:
        command = [sys.executable, "setup.py", "--quiet", "--version"]
        printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
        version = printed.split()[-1]
        assert version == MANIFEST.findtext("version")
        changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
        assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == version

    def test_a_workspace_finds_one_package_here(self) -> None:
        """And not the stand-ins for packages that PyPI lacks: neither from the top nor looking below it."""
        assert find_package_paths(str(REPOSITORY)) == ["."]
        assert find_package_paths(str(REPOSITORY / "env")) == []
        assert len(find_package_paths(str(REPOSITORY / "env" / "interfaces"))) == 2


class TestImports:
    @pytest.mark.parametrize("path", SOURCES, ids=relative)
    def test_parts_import_only_what_lies_below_them(self, path: Path) -> None:
        part = path.relative_to(PACKAGE).parts[0]
        if part == "__init__.py":
            return
        own = {name.split(".")[1] for name in module_imports(path) if name.startswith("tggbc_ros.")}
        assert own <= MAY_IMPORT[part]

    @pytest.mark.parametrize("part", ROOMS_MAY_IMPORT)
    def test_rooms_import_only_what_lies_below_them(self, part: str) -> None:
        rooms = ROOMS_MAY_IMPORT[part]
        assert set(rooms) == {path.parent.name for path in (PACKAGE / part).glob("*/__init__.py")}
        for path in (PACKAGE / part).rglob("*.py"):
            if relative(path) in ABOVE_THE_ROOMS:
                continue
            room = path.parent.name
            names = [name.split(".") for name in module_imports(path) if name.startswith(f"tggbc_ros.{part}.")]
            own = {name[2] for name in names} & set(rooms) - {room}
            assert own <= rooms.get(room, set()), relative(path)

    def test_no_module_imports_itself_by_way_of_others(self) -> None:
        modules = {".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path for path in SOURCES}
        graph = {
            module: {known for name in module_imports(path) if (known := nearest(name, modules)) not in (None, module)}
            for module, path in modules.items()
        }
        assert len(list(TopologicalSorter(graph).static_order())) == len(modules)

    @pytest.mark.parametrize("path", [path for path in SOURCES if path.is_relative_to(PACKAGE / "core")], ids=relative)
    def test_core_needs_numpy_and_torch_alone(self, path: Path) -> None:
        roots = {name.split(".")[0] for name in module_imports(path)}
        outside = roots - sys.stdlib_module_names - {"tggbc_ros"}
        assert outside <= CORE_LIBRARIES | CORE_EXCEPTIONS.get(relative(path), set())

    @pytest.mark.parametrize(
        "path", [path for path in SOURCES if path.relative_to(PACKAGE).parts[0] in WITHOUT_ROS], ids=relative
    )
    def test_parts_that_do_without_ros(self, path: Path) -> None:
        roots = {name.split(".")[0] for name in module_imports(path, top_level_only=True)}
        assert not roots & dependencies("depend", "exec_depend")

    @pytest.mark.parametrize("path", SOURCES, ids=relative)
    def test_optional_parts_are_imported_where_they_are_used(self, path: Path) -> None:
        names = module_imports(path, top_level_only=True)
        if path.relative_to(PACKAGE).parts[0] not in IS_ONE_THEMSELVES:
            assert not {name.split(".")[0] for name in names} & IMPORTED_WHERE_USED
            assert not {name.split(".")[1] for name in names if name.startswith("tggbc_ros.")} & IS_ONE_THEMSELVES

    def test_every_import_is_declared(self) -> None:
        """In package.xml for rosdep, or in env/pins.txt for pip."""
        used = {name.split(".")[0] for path in SOURCES for name in module_imports(path)}
        ros = dependencies("depend", "exec_depend")
        owners = packages_distributions()
        pinned = {name for name in pins() if not name.startswith("ros-")}
        undeclared = {
            module
            for module in used - sys.stdlib_module_names - {"compression", "tggbc_ros"} - ros  # the first is 3.14's
            if not any(normalize(owner) in pinned for owner in owners.get(module, [WITHOUT_OWNER.get(module, module)]))
        }
        assert undeclared - {"onnxruntime", "tensorrt", "nuscenes", "mmdet3d"} == set()


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, set[str]]:
    """Distribution -> the versions that env/pins.txt names for one interpreter or another."""
    found: dict[str, set[str]] = {}
    for line in (REPOSITORY / "env" / "pins.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            exact = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?==([\w.]+)(?:; python_version (?:<|>=) \"3\.\d+\")?", line)
            assert exact, f"{line!r} is not an exact version"
            found.setdefault(normalize(exact[1]), set()).add(exact[2])
    return found


class TestPins:
    def test_no_line_leaves_a_choice(self) -> None:
        assert len(pins()) > 100

    @pytest.mark.skipif("ROS_DISTRO" in os.environ, reason="the sourced ROS 2 installation is in use, not the wheels")
    def test_installed_ros_packages_are_the_pinned_ones(self) -> None:
        """One that is not listed would be Kilted's sooner or later."""
        installed = {normalize(d.name): d.version for d in distributions() if normalize(d.name).startswith("ros-")}
        assert len(installed) > 80
        wanted = pins()
        assert {name: {version} for name, version in installed.items()} == {name: wanted[name] for name in installed}


class TestBuiltInterfaces:
    @pytest.mark.parametrize("name", OWN_MESSAGES)
    def test_own_messages_are_built_from_the_present_files(self, name: str) -> None:
        """Type hash of the build against one that rosbags computes from the files: equal fields, names and order."""
        store = get_typestore(Stores.ROS2_JAZZY)
        for other in OWN_MESSAGES:
            text = (REPOSITORY / "msg" / f"{other}.msg").read_text(encoding="utf-8")
            store.register(get_types_from_msg(text, f"tggbc_ros/msg/{other}"))
        full = f"tggbc_ros/msg/{name}"
        assert built_hash(full) == store.hash_rihs01(full)

    @pytest.mark.parametrize("name", OWN_MESSAGES)
    def test_own_messages_can_be_imported_beside_the_sources(self, name: str) -> None:
        message = getattr(importlib.import_module("tggbc_ros.msg"), name)
        text = (REPOSITORY / "msg" / f"{name}.msg").read_text(encoding="utf-8")
        fields = [line.split()[1] for line in text.splitlines() if line and not line.startswith("#")]
        assert list(message.get_fields_and_field_types()) == fields

    @pytest.mark.parametrize("name", PUBLISHED_HASHES)
    def test_borrowed_messages_have_the_published_type_hash(self, name: str) -> None:
        assert built_hash(name) == PUBLISHED_HASHES[name]


def built_hash(full_name: str) -> str:
    """The type hash that the message generator wrote beside an installed message."""
    package, _, name = full_name.split("/")
    described = json.loads((Path(get_package_share_directory(package)) / "msg" / f"{name}.json").read_text())
    return {entry["type_name"]: entry["hash_string"] for entry in described["type_hashes"]}[full_name]


class TestInstalled:
    @pytest.mark.parametrize("module", ["detector_node", "bags.bag_player", "bags.bag_recorder"])
    def test_programs_are_executable_and_start_their_main(self, module: str) -> None:
        path = Path(get_package_prefix("tggbc_ros")) / "lib" / "tggbc_ros" / module.split(".")[-1]
        assert os.access(path, os.X_OK)
        source = ast.parse((PACKAGE / "ros" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
        assert "main" in {node.name for node in source.body if isinstance(node, ast.FunctionDef)}
        assert f"from tggbc_ros.ros.{module} import main" in path.read_text(encoding="utf-8").splitlines()

    @pytest.mark.parametrize("folder", ["config", "launch"])
    def test_configuration_and_launch_files_are_installed(self, folder: str) -> None:
        source = {path.name for path in (REPOSITORY / folder).iterdir() if path.is_file()}
        installed = Path(get_package_share_directory("tggbc_ros")) / folder
        assert source
        assert source <= {path.name for path in installed.iterdir()}
