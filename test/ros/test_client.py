"""client: a bag through a detector of its own process, no set lost on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from bag_families import our_own, write_bag

from tggbc_ros.ros.client import ClientError, Process, play, running_detector

SETS = 3


@pytest.fixture
def ros(monkeypatch: pytest.MonkeyPatch, domain_id: int) -> Iterator[None]:
    """rclpy, and the processes it starts, in a domain of this test's own."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    rclpy.init()
    yield
    rclpy.shutdown()


def test_every_set_is_answered_and_none_is_played_before_the_detector_hears_all_topics(
    tmp_path: Path, ros: None
) -> None:
    whole = write_bag(tmp_path / "whole", our_own(range(SETS)))
    lacking = write_bag(tmp_path / "lacking", [entry for entry in our_own(range(SETS)) if entry[1] != "/tf_static"])
    with running_detector({"model": "demo"}, tmp_path) as (detector, client):
        play(whole, SETS, detector, client, tmp_path)
        assert client.answers == client.reports[max(client.reports)].sets_received == SETS
        client.forget()
        with pytest.raises(ClientError, match=r"after 1 s 13 topics have a subscriber, not 14"):
            play(lacking, SETS, detector, client, tmp_path, ("--wait-timeout", "1"))
        assert client.answers == 0


def test_a_process_that_fails_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "player.log"
    with Process("tggbc_ros.ros.bags.bag_player", [str(tmp_path / "no_bag")], log) as player:
        player._child.wait(60)
        with pytest.raises(ClientError, match=r"bag_player ended with status 1; bag_player said last:\n.*no_bag"):
            player.is_running()
