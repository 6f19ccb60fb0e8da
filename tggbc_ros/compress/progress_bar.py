"""Progress bars, where somebody looks."""

from __future__ import annotations

from collections.abc import Callable

from tqdm import tqdm


def bar(what: str, unit: str, total: int | None = None, hidden: bool = False) -> tqdm:
    """A progress bar; none where standard error is no terminal."""
    return tqdm(total=total, desc=what, unit=unit, disable=hidden or None)


def each(shown: tqdm) -> Callable[[], None]:
    """Moves a bar on by one."""

    def done() -> None:
        shown.update()

    return done
