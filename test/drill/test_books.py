"""books: what reports and logs say, and what came on top of an earlier state."""

from __future__ import annotations

from collections import Counter

from tggbc_ros.msg import Count, FrameReport

from drill.books import Books, closed, reported
from tggbc_ros.ros.drops import Account


def test_a_report_is_read_as_books() -> None:
    report = FrameReport(sets_received=5, sets_published=3, drops=[Count(cause="set_superseded", count=2)])
    report.resets = [Count(cause="gap in time", count=1)]
    assert reported(report) == Books(5, 3, Counter({"set_superseded": 2}), Counter({"gap in time": 1}))


def test_the_log_of_two_activations_adds_up() -> None:
    account = Account()
    account.note_reset("service")
    account.publish_set()
    account.drop_set("stopped")
    account.drop("image_stopped", 4)
    line = f"[INFO] [1.5] [detector]: stopped; books since activation: {account.totals().as_json()}"
    found = closed(f"{line}\n[INFO] something else\n{line}\n")
    assert found == Books(4, 2, Counter({"set_stopped": 2, "image_stopped": 8}), Counter({"service": 2}))
    assert (found.sets_dropped, found.images_dropped) == (2, 8)
    assert closed("") == Books()


def test_a_difference_names_only_what_changed() -> None:
    before = Books(5, 4, Counter({"set_superseded": 1, "image_late": 2}), Counter({"service": 1}))
    after = Books(9, 7, Counter({"set_superseded": 2, "image_late": 2}), Counter({"service": 1}))
    assert after - before == Books(4, 3, Counter({"set_superseded": 1}), Counter())
    assert (after - before) + before == after
