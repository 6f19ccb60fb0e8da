"""source_choice: what arrives decides, within SILENT_S and both ways, and nothing moves without a reason."""

from __future__ import annotations

from tggbc_ros.ros.images.source_choice import FINE, LACKS_COLOURS, SILENT_S, UNUSABLE, SourceChoice

ALL = {"compressed", "bare", "raw"}
BOTH = {"compressed", "raw"}


def choice() -> SourceChoice[str]:
    return SourceChoice(["compressed", "bare", "raw"])


def play(
    found: SourceChoice[str], start_s: float, count: int, *topics: str, period_s: float = 0.5, offered: set[str] = BOTH
) -> list[str]:
    """Images on these topics, a look before each; from which they were taken."""
    taken = []
    for index in range(count):
        now_s = start_s + index * period_s
        found.look(offered, now_s)
        taken += [topic for topic in topics if found.arrived(topic, now_s)]
    return taken


def test_the_best_that_is_published_is_taken_and_nothing_else_listened_to() -> None:
    found = choice()
    assert found.look(set(), 0.0) == []
    assert found.look({"raw"}, 1.0) == ["raw"]
    assert found.look(BOTH, 1.5) == ["compressed"]  # nothing had come on the other yet
    assert found.look(ALL, 2.0) == ["compressed"]
    assert play(found, 3.0, 5, "compressed", "raw") == ["compressed"] * 5


def test_a_topic_that_is_published_and_silent_is_left() -> None:
    found = choice()
    assert found.look(BOTH, 0.0) == ["compressed"]
    assert found.look(BOTH, SILENT_S - 0.1) == ["compressed"]
    assert found.look(BOTH, SILENT_S) == ["compressed", "raw"]
    assert play(found, 2.1, 4, "raw") == ["raw"] * 3  # the first image is not taken yet
    assert found.current == "raw"
    assert found.look(BOTH, 4.0) == ["raw", "compressed"]  # which may yet come


def test_the_better_topic_is_taken_once_it_brings_images() -> None:
    found = choice()
    play(found, 0.0, 4, "raw", offered={"raw"})
    assert found.look(BOTH, 2.0) == ["raw", "compressed"]
    assert play(found, 2.0, 6, "raw") == ["raw"] * 6
    assert play(found, 5.0, 4, "raw", "compressed") == ["raw", "raw", *["compressed"] * 3]
    assert found.look(BOTH, 7.0) == ["compressed"]
    assert found.arrived("raw", 7.1) is False


def test_a_topic_that_falls_silent_is_left_and_taken_again() -> None:
    found = choice()
    play(found, 0.0, 10, "compressed")
    assert play(found, 5.0, 8, "raw").count("raw") == 4  # silent from 4.5, listened to from 6.5, taken from 7.0
    assert play(found, 9.0, 4, "raw", "compressed")[-2:] == ["compressed"] * 2


def test_a_pause_of_all_and_a_slow_camera_move_nothing() -> None:
    found = choice()
    play(found, 0.0, 4, "compressed", "raw")
    assert found.look(BOTH, 60.0) == ["compressed", "raw"]
    assert play(found, 60.5, 4, "raw", "compressed") == ["compressed"] * 4
    slow = choice()
    assert play(slow, 0.0, 20, "raw", "compressed", period_s=3.0) == ["compressed"] * 20


def test_two_rare_images_of_a_better_topic_prove_nothing() -> None:
    found = choice()
    play(found, 0.0, 4, "raw", offered={"raw"})
    for index in range(8, 60):
        now_s = index / 2
        found.look(BOTH, now_s)
        assert found.arrived("raw", now_s)
        assert index % 10 or not found.arrived("compressed", now_s)


def test_the_last_publisher_that_goes_leaves_the_topic_and_another_one_is_taken_at_once() -> None:
    found = choice()
    play(found, 0.0, 3, "compressed")
    assert found.look(set(), 1.5) == ["compressed"]
    assert found.look({"raw"}, 1.6) == ["raw"]
    assert found.arrived("compressed", 1.7) is False
    assert found.arrived("raw", 1.7)


def test_images_without_colours_are_second_choice_where_others_come() -> None:
    found = choice()
    play(found, 0.0, 4, "compressed", "raw")
    found.rate("compressed", LACKS_COLOURS)
    assert (found.worth("compressed"), found.worth("raw")) == (LACKS_COLOURS, FINE)
    assert play(found, 2.0, 4, "compressed", "raw") == ["compressed", "compressed", "raw", "raw", "raw"]
    found.rate("raw", LACKS_COLOURS)  # neither has any: the order counts again
    assert play(found, 4.0, 5, "compressed", "raw")[-3:] == ["compressed"] * 3
    alone = choice()
    alone.rate("compressed", LACKS_COLOURS)
    assert play(alone, 0.0, 3, "compressed", offered={"compressed"}) == ["compressed"] * 3


def test_images_that_cannot_be_used_are_the_last_choice() -> None:
    found = choice()
    play(found, 0.0, 4, "compressed", "raw")
    found.rate("compressed", LACKS_COLOURS)
    play(found, 2.0, 4, "compressed", "raw")
    found.rate("raw", UNUSABLE)
    assert play(found, 4.0, 4, "compressed", "raw")[-2:] == ["compressed"] * 2
