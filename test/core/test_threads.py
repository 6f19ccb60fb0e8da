"""Which threads have helpers of OpenMP's: the one that steps, unless an engine brings threads of its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tiny_model import SMALL

from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core.detector import Detector
from tggbc_ros.core.threads import open_workers, without_helpers
from tggbc_ros.core.warm_up import black_frame


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_thread_that_preprocesses_has_no_helpers_and_the_others_keep_theirs() -> None:
    with open_workers(3, "test") as pool, ThreadPoolExecutor(1) as other:
        assert set(pool.map(lambda _: torch.get_num_threads(), range(20))) == {1}
        assert torch.get_num_threads() == 2
        assert other.submit(torch.get_num_threads).result() == 2


def test_helpers_come_back_whatever_happens() -> None:
    with pytest.raises(ValueError, match="on the way"), without_helpers():
        assert torch.get_num_threads() == 1
        raise ValueError("on the way")
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("own_threads", "expected"), [(False, 2), (True, 1)])
def test_torch_computes_alone_beside_an_engine(own_threads: bool, expected: int) -> None:
    network = TorchNetwork.load(SMALL, None, "cpu")
    network.own_threads = own_threads
    decode, seen = network.decode, []

    def observed(*given: object) -> object:
        seen.append(torch.get_num_threads())
        return decode(*given)

    network.decode = observed
    detector = Detector(network)
    detector.step(black_frame(SMALL, [f"cam{index}" for index in range(6)]))
    detector.close()
    assert seen == [expected]
    assert torch.get_num_threads() == 2
