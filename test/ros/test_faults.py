"""The short form of the fault drill: exact accounts of every set and image, a real node over real DDS."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from drill.ground import Ground  # noqa: E402
from drill.node import NodeOptions  # noqa: E402
from drill.table import FAULTS, Fault, put_through  # noqa: E402

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def ground_with(domain_id: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Ground]]:
    """A node with these options: the running one where it has them, as neighbours in the table do."""
    with ExitStack() as open_ones:
        running: list[Ground] = []

        def get(options: NodeOptions) -> Ground:
            if not running or running[0].options is not options or not running[0].process.is_running():
                open_ones.close()
                log = tmp_path_factory.mktemp("ground") / "node.log"
                running[:] = [open_ones.enter_context(Ground(options, domain_id, log))]
            return running[0]

        yield get


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_set_is_accounted_for(ground_with: Callable[..., Ground], fault: Fault) -> None:
    row = put_through(fault, ground_with(fault.options), long=False)
    assert row.problems == []
    assert row.books.sets_in == row.books.published + row.books.sets_dropped > 0
