"""The TensorRT backend on a stand-in for TensorRT: all but the kernels, of which nothing has run here."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import inspect
import json
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tggbc_ros.backends import load_network, tensorrt_backend, tensorrt_engine
from tggbc_ros.backends.exported import ExportedNetwork
from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core.config import MODELS
from tggbc_ros.core.detector import Detector
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.evaluation.parity import compare, keep_ratios
from tggbc_ros.export.manifest import read
from tggbc_ros.tools import export

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "export")]

import fake_tensorrt  # noqa: E402
from tiny_network import TINY, frame_at  # noqa: E402

LATEST = "11.4.0.106"
RATIOS = (1.0, 0.5, 0.3, 0.1)
TABLE = json.loads((Path(__file__).parent / "tensorrt_names.json").read_text(encoding="utf-8"))
VERSIONS = ("10.0.1", "10.3.0", "10.16.1.11", "11.4.0.106")
GRAPHS = ("encoder", "rays", "tokens", "queries", "layer0", "layer1", "layer2", "branches")
CELLS = 2 * 4  # of one camera

# Attributes that tensorrt_engine.py asks of torch, of this package and of Python; all others are TensorRT's.
NOT_TENSORRTS = {"cache", "clone", "contiguous", "data_ptr", "shape"}
NOT_TENSORRTS |= {"check", "device", "feature_size", "inputs", "items", "join", "make_outputs", "name", "outputs"}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tggbc_ros" / "tensorrt"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> fake_tensorrt.Gpu:
    made = fake_tensorrt.Gpu()
    monkeypatch.setattr(tensorrt_backend, "find_gpu", lambda device: made)
    return made


@pytest.fixture
def install(gpu: fake_tensorrt.Gpu, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], types.ModuleType]:
    """A version -> the stand-in of it, which is then what ``import tensorrt`` finds."""

    def put(version: str) -> types.ModuleType:
        module = fake_tensorrt.make_module(version)
        monkeypatch.setitem(sys.modules, "tensorrt", module)
        return module

    return put


@pytest.fixture
def trt(install: Callable[[str], types.ModuleType]) -> types.ModuleType:
    return install(LATEST)


@pytest.fixture
def reference(tiny_export: Path) -> TorchNetwork:
    return TorchNetwork.load(TINY, tiny_export.with_name("tiny.pth"), "cpu")


def load(folder: Path) -> ExportedNetwork:
    network = load_network("tensorrt", TINY, folder, "auto")
    assert isinstance(network, ExportedNetwork)
    return network


def built(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The graphs that a line in the log says were built, in order; forgets them."""
    names = [str(record.args[2]) for record in caplog.records if record.getMessage().startswith("building engine")]
    caplog.clear()
    return names


class TestParity:
    def test_twenty_frames_with_memory_and_four_keep_ratios(
        self, trt: types.ModuleType, tiny_export: Path, reference: TorchNetwork
    ) -> None:
        network = load(tiny_export)
        frames = (frame_at(number) for number in range(20))
        rows = list(compare(reference, network, frames, keep_ratios(RATIOS, 20)))
        assert len({row.frame for row in rows}) == 20 and {row.keep_ratio for row in rows} == set(RATIOS)
        assert [row for row in rows if not row.passed] == []
        assert max(row.max_abs_error for row in rows if row.output == "logits") > 0  # they are two engines
        assert trt._executions > 20 * len(GRAPHS)  # and this one is asked

    def test_verify_proves_it_in_one_command(
        self,
        trt: types.ModuleType,
        tiny_export: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setitem(MODELS, TINY.name, TINY)
        options = ["--backend", "tensorrt", "--model", TINY.name, "--checkpoint", str(tiny_export)]
        options += ["--weights", str(tiny_export.with_name("tiny.pth")), "--frames", "4", "--keep-ratio", "1", "0.3"]
        assert export.main(["verify", *options]) == 0
        said = capsys.readouterr().out
        assert "tensorrt on cpu" in said and "backend ms" in said and "FAIL" not in said

    def test_five_cameras(self, trt: types.ModuleType, tiny_export: Path, reference: TorchNetwork) -> None:
        images = preprocess(frame_at(0), TINY, "cpu").images[:, :5]
        assert torch.allclose(load(tiny_export).encode(images), reference.encode(images), atol=1e-4)

    def test_more_cameras_than_engines_are_built_for(self, trt: types.ModuleType, tiny_export: Path) -> None:
        said = r"input images of graph encoder has shape \(9, 3, 32, 64\).*\(1, 3, 32, 64\) to \(8, 3, 32, 64\)"
        with pytest.raises(ValueError, match=said):
            load(tiny_export).encode(torch.zeros(1, 9, 3, 32, 64))

    def test_what_is_not_a_number_shows(self, trt: types.ModuleType, tiny_export: Path) -> None:
        detector = Detector(load(tiny_export))
        detector.step(frame_at(0))
        assert detector.past
        detector.past[-1].memory.embedding[0, 3, 5] = torch.nan
        with pytest.raises(FloatingPointError, match="hold NaN or infinity"):
            detector.step(frame_at(1))

    @pytest.mark.skipif(
        not (torch.cuda.is_available() and importlib.util.find_spec("tensorrt")),
        reason="needs a CUDA device and TensorRT",
    )
    def test_the_real_one(self, tiny_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
        reference = TorchNetwork.load(TINY, tiny_export.with_name("tiny.pth"), "cuda:0")
        tested = load_network("tensorrt", TINY, tiny_export, "cuda:0")
        rows = list(compare(reference, tested, map(frame_at, range(20)), keep_ratios(RATIOS, 20)))
        assert [row for row in rows if not row.passed] == []


class TestBuilding:
    @pytest.mark.parametrize("version", ["10.3.0", "10.16.1.11", LATEST])
    def test_types_are_the_graphs_own(
        self, version: str, install: Callable[[str], types.ModuleType], tiny_export: Path
    ) -> None:
        """The stand-in refuses networks that are not strongly typed; TF32 is on unless it is cleared."""
        module = install(version)
        load(tiny_export)
        flags = [] if version == "10.3.0" else ["STRICT_NANS"]
        assert [plan["flags"] for plan in module._plans] == [flags] * len(GRAPHS)

    def test_profiles_span_every_number_of_keys(self, trt: types.ModuleType, tiny_export: Path) -> None:
        load(tiny_export)
        ranges = dict(zip(GRAPHS, (plan["ranges"] for plan in trt._plans), strict=True))
        assert ranges["queries"] == ranges["branches"] == {}
        assert ranges["encoder"] == {"images": [[1, 3, 32, 64], [6, 3, 32, 64], [8, 3, 32, 64]]}
        keys = [[1, 1, 64], [1, 6 * CELLS, 64], [1, 8 * CELLS, 64]]
        assert ranges["layer0"] == ranges["layer2"] == {"key": keys, "value": keys}
        assert ranges["tokens"]["scale"] == [[1, 1, 64], [1, 6 * CELLS, 64], [1, 8 * CELLS, 64]]

    def test_a_graph_that_cannot_be_read_is_named(self, trt: types.ModuleType) -> None:
        with pytest.raises(ValueError, match=r"TensorRT 11\.4\.0\.106 cannot read the graph layer0: .+"):
            tensorrt_engine.build(trt, "layer0", b"no ONNX", {})

    def test_a_graph_that_cannot_be_built_is_named(
        self, trt: types.ModuleType, tiny_export: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trt.Builder, "build_serialized_network", lambda *given: None)
        with pytest.raises(ValueError, match=r"cannot build the graph encoder: its log above says why"):
            load(tiny_export)

    def test_sizes_that_are_not_taken_are_named(
        self, trt: types.ModuleType, tiny_export: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fake_tensorrt.IBuilderConfig, "add_optimization_profile", lambda *given: -1)
        with pytest.raises(
            ValueError, match=r"does not take the sizes of the graph encoder: {'images': \(\(1, 3, 32, 64\),"
        ):
            load(tiny_export)

    def test_one_logger_serves_the_process(self, trt: types.ModuleType, tiny_export: Path) -> None:
        load(tiny_export)
        load(tiny_export)
        users = tensorrt_engine.logger_of(trt)._users
        assert users == ["runtime", *["builder", "parser"] * len(GRAPHS), "runtime"]


class TestKeeping:
    def test_engines_are_built_once(
        self, trt: types.ModuleType, tiny_export: Path, empty_cache: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        load(tiny_export)
        assert built(caplog) == list(GRAPHS)
        (folder,) = empty_cache.iterdir()
        assert {path.name for path in folder.glob("*.engine")} == {f"{graph}.engine" for graph in GRAPHS}
        images = preprocess(frame_at(0), TINY, "cpu").images
        first = load(tiny_export).encode(images)
        assert built(caplog) == []
        assert torch.equal(load(tiny_export).encode(images), first)

    def test_another_gpu_or_version_has_engines_of_its_own(
        self,
        install: Callable[[str], types.ModuleType],
        gpu: fake_tensorrt.Gpu,
        tiny_export: Path,
        empty_cache: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        install("10.3.0")
        load(tiny_export)
        install(LATEST)
        load(tiny_export)
        gpu.name = "Other GPU"
        load(tiny_export)
        assert built(caplog) == list(GRAPHS) * 3
        assert len(list(empty_cache.iterdir())) == 3
        gpu.name = "Fake GPU"
        load(tiny_export)
        assert built(caplog) == []

    @pytest.mark.parametrize("damage", ["byte", "cut", "head", "empty"])
    def test_a_damaged_engine_is_refused_and_built_anew(
        self,
        damage: str,
        trt: types.ModuleType,
        tiny_export: Path,
        empty_cache: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        load(tiny_export)
        built(caplog)
        (path,) = empty_cache.glob("*/layer1.engine")
        good = path.read_bytes()
        changed = good[:-9] + bytes([good[-9] ^ 1]) + good[-8:]
        bad = {"byte": changed, "cut": good[: len(good) // 2], "head": b"x" + good, "empty": b""}[damage]
        path.write_bytes(bad)
        trt._taken.clear()
        load(tiny_export)
        why = {"byte": "its sha256 is not", "cut": "its sha256 is not"}.get(damage, "its first line is damaged")
        (line,) = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
        assert line.startswith(f"{path} is refused, and built anew: ") and why in line
        assert built(caplog) == ["layer1"]
        assert path.read_bytes() == good
        assert len(trt._taken) == len(GRAPHS)  # the damaged one was never handed to TensorRT
        assert trt._taken[GRAPHS.index("layer1")] == good.partition(b"\n")[2]

    def test_an_engine_of_another_graph_is_refused(
        self, trt: types.ModuleType, tiny_export: Path, empty_cache: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Layers have equal shapes, so that nothing else would tell."""
        load(tiny_export)
        built(caplog)
        (folder,) = empty_cache.iterdir()
        shutil.copy(folder / "layer0.engine", folder / "layer1.engine")
        load(tiny_export)
        assert "layer1.engine is refused, and built anew: graph is layer0, expected layer1" in caplog.text
        assert built(caplog) == ["layer1"]

    def test_an_engine_that_tensorrt_does_not_take_is_built_anew(
        self,
        trt: types.ModuleType,
        tiny_export: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        load(tiny_export)
        built(caplog)
        take = trt.Runtime.deserialize_cuda_engine
        refused: list[bytes] = []

        def refuse_once(runtime: object, plan: bytes) -> object:
            refused.append(plan)
            return None if len(refused) == 1 else take(runtime, plan)

        monkeypatch.setattr(trt.Runtime, "deserialize_cuda_engine", refuse_once)
        load(tiny_export)
        assert "encoder.engine is built anew: TensorRT does not take the engine of the graph encoder" in caplog.text
        assert built(caplog) == ["encoder"]

    def test_nothing_is_kept_of_an_engine_that_could_not_be_written(
        self, trt: types.ModuleType, tiny_export: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(path: Path, target: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "rename", fail)
        with pytest.raises(OSError, match="No space left"):
            load(tiny_export)
        (folder,) = empty_cache.iterdir()
        assert [path.name for path in folder.iterdir()] == [".lock"]


class TestUnavailable:
    def test_tensorrt_is_not_touched_without_a_cuda_device(
        self,
        tiny_export: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """One that ends the process when it is imported, as the real one might."""
        (tmp_path / "tensorrt.py").write_text("import os; os._exit(9)")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        said = (
            f"backend tensorrt needs a CUDA device, and torch {torch.__version__} finds none: install NVIDIA's driver"
        )
        for device in ("auto", "cpu", "cuda"):
            with pytest.raises(ValueError) as caught:
                load_network("tensorrt", TINY, tiny_export, device)
            assert str(caught.value).startswith(said)
        assert export.main(["verify", "--backend", "tensorrt"]) == 2
        printed = capsys.readouterr()
        assert printed.err.startswith(f"export: {said}") and printed.err.count("\n") == 1 and printed.out == ""
        assert "tensorrt" not in sys.modules

    def test_the_cpu_of_a_machine_with_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        with pytest.raises(ValueError, match="device is 'cpu': set it to auto or cuda"):
            load_network("tensorrt", TINY, None, "cpu", allow_random_weights=True)

    def test_a_missing_library_is_named_with_how_to_get_it(
        self, gpu: fake_tensorrt.Gpu, tiny_export: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        monkeypatch.setattr(torch.version, "cuda", "12.8")
        said = "needs the Python package tensorrt: pip install tensorrt-cu12, or on a Jetson apt install python3-libnv"
        with pytest.raises(ImportError, match=said):
            load_network("tensorrt", TINY, tiny_export, "auto")

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("raise OSError('libnvinfer.so.10: cannot open shared object file')", r"libnvinfer\.so"),
            ("import tensorrt_libs_are_not_here", "No module named 'tensorrt_libs_are_not_here'"),
        ],
        ids=["library", "module"],
    )
    def test_a_broken_installation_is_one_line(
        self,
        content: str,
        said: str,
        gpu: fake_tensorrt.Gpu,
        tiny_export: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / "tensorrt.py").write_text(content)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
        with pytest.raises(ImportError, match=f"^the Python package tensorrt cannot load its libraries: {said}"):
            load_network("tensorrt", TINY, tiny_export, "auto")

    def test_an_old_version_is_refused(self, install: Callable[[str], types.ModuleType], tiny_export: Path) -> None:
        install("8.6.1")
        with pytest.raises(ImportError, match=r"tensorrt 8\.6\.1 is too old for backend tensorrt"):
            load_network("tensorrt", TINY, tiny_export, "auto")


class TestRunning:
    def test_each_graph_runs_between_two_orderings_of_the_streams(
        self, trt: types.ModuleType, gpu: fake_tensorrt.Gpu, tiny_export: Path
    ) -> None:
        """The stand-in refuses any stream but the GPU's own."""
        network = load(tiny_export)
        assert gpu.queue == []
        network.encode(preprocess(frame_at(0), TINY, "cpu").images)
        assert gpu.queue == ["begin", "end"]

    def test_the_gpus_stream_waits_for_torch_and_torch_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where the engine fails: its buffers are torch's again."""
        happened: list[str] = []

        class Stream:
            cuda_stream = 4711

            def __init__(self, name: object) -> None:
                self.name = "torch" if name == "torch" else "own"

            def wait_stream(self, other: Stream) -> None:
                happened.append(f"{self.name} waits for {other.name}")

        properties = types.SimpleNamespace(name="H200", major=9, minor=0)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("torch"))
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
        gpu = tensorrt_backend.Gpu(torch.device("cuda"))
        assert (gpu.device, gpu.name, gpu.compute_capability) == (torch.device("cuda", 1), "H200", "9.0")
        with pytest.raises(RuntimeError, match="failed"), gpu.stream() as handle:
            happened.append(f"runs on {handle}")
            raise RuntimeError("failed")
        assert happened == ["own waits for torch", "runs on 4711", "torch waits for own"]

    def test_a_run_that_fails_is_named(
        self, trt: types.ModuleType, tiny_export: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        network = load(tiny_export)
        monkeypatch.setattr(fake_tensorrt.IExecutionContext, "execute_async_v3", lambda *given: False)
        with pytest.raises(RuntimeError, match="TensorRT failed to run the graph encoder"):
            network.encode(preprocess(frame_at(0), TINY, "cpu").images)

    def test_a_buffer_that_is_not_taken_is_named(
        self, trt: types.ModuleType, tiny_export: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else the engine would go on with the one of the frame before."""
        network = load(tiny_export)
        monkeypatch.setattr(fake_tensorrt.IExecutionContext, "set_tensor_address", lambda *given: False)
        with pytest.raises(RuntimeError, match="TensorRT does not take the buffer of images of the graph encoder"):
            network.encode(preprocess(frame_at(0), TINY, "cpu").images)

    def test_inputs_are_copied_only_where_tensorrt_could_not_read_them(self) -> None:
        flat = torch.empty(400)
        begin = -flat.data_ptr() % tensorrt_engine.ALIGNMENT_BYTES // flat.element_size()
        good = flat[begin : begin + 64].view(8, 8)
        assert tensorrt_engine.aligned(good) is good
        shifted = flat[begin + 1 : begin + 65]
        for awkward in (shifted, good.t()):
            copy = tensorrt_engine.aligned(awkward.fill_(3.0))
            assert copy.data_ptr() != awkward.data_ptr() or awkward.is_contiguous()
            assert copy.is_contiguous() and torch.equal(copy, awkward)
        assert tensorrt_engine.aligned(shifted).data_ptr() != shifted.data_ptr()


class TestNames:
    """tensorrt_names.json was read off the real bindings by tensorrt_names.py."""

    def test_the_stand_in_has_what_all_versions_have(self) -> None:
        from tensorrt_names import stand_in_names

        names = {f"{cls}.{member}" for cls, members in stand_in_names().items() for member in members}
        assert names == set(TABLE)
        missing = {
            name: sorted(set(VERSIONS) - set(TABLE[name])) for name in names if set(TABLE[name]) != set(VERSIONS)
        }
        assert missing == {"BuilderFlag.STRICT_NANS": ["10.0.1", "10.3.0"]}

    @pytest.mark.parametrize("version", VERSIONS)
    def test_its_parameters_are_the_real_ones(self, version: str) -> None:
        module = fake_tensorrt.make_module(LATEST)
        classes = {
            cls.__name__: cls for cls in (*vars(module).values(), *fake_tensorrt.BEHIND) if isinstance(cls, type)
        }
        compared = 0
        for name, versions in TABLE.items():
            cls, member = name.split(".")
            found = getattr(classes[cls], member)
            if versions.get(version) is None or not callable(found):
                assert not inspect.isfunction(found)
                continue
            ours = list(inspect.signature(found).parameters)[1:]
            assert any(theirs[: len(ours)] == ours for theirs in versions[version]), name
            compared += 1
        assert compared > 15

    def test_the_backend_says_nothing_else(self) -> None:
        """Every attribute in the file that talks to TensorRT is one of the table, or known to be another's."""
        tree = ast.parse(inspect.getsource(tensorrt_engine))
        asked = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        ours = {name for name in asked if name.startswith("_") and name != "__version__"}
        classes, members = ({name.split(".")[part] for name in TABLE} for part in (0, 1))
        assert asked - ours - {"__version__", "Tensor"} - NOT_TENSORRTS <= classes | members
        assert not (NOT_TENSORRTS & members)

    def test_the_rest_of_the_package_hands_it_on_untouched(self) -> None:
        tree = ast.parse(inspect.getsource(tensorrt_backend))
        asked = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in ("trt", "tensorrt")
        }
        assert asked == {"__version__"}


def test_the_manifest_names_the_graphs_in_the_order_of_this_file(tiny_export: Path) -> None:
    assert tuple(read(tiny_export).graphs) == GRAPHS
