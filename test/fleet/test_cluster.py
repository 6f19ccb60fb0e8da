"""Two Ray nodes on loopback, joined by address: workers sit on both, and every task is done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tggbc_ros.fleet.pool import cluster, outcomes

ray = pytest.importorskip("ray", reason="ray is optional: ./run env/add.sh fleet")
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def address() -> Iterator[str]:
    """Of a cluster whose two nodes have room for one worker each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made.address
    made.shutdown()


def test_both_nodes_work(address: str) -> None:
    class Worker:
        def do(self, task: int) -> tuple[int, str]:
            import time

            import ray

            time.sleep(0.2)  # long enough for the other to get its share
            return task, ray.get_runtime_context().get_node_id()

    with cluster(address, workers=2, threads=1) as connected:
        tasks = [(str(number), number) for number in range(8)]
        found = [each.result for each in outcomes(connected, Worker, (), tasks, workers=2, threads=1)]
    assert sorted(task for task, _ in found) == list(range(8))
    assert len({node for _, node in found}) == 2


def test_a_cluster_that_is_not_there_is_named_at_once() -> None:
    with (
        pytest.raises(ConnectionError, match=r"no Ray cluster at 127\.0\.0\.1:1: .*refused"),
        cluster("127.0.0.1:1", 1, 1),
    ):
        pass
