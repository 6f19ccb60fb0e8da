"""foreign: what a library raises is ours from there on, but for what is meant for the whole process."""

from __future__ import annotations

import pytest

from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.foreign import foreign


@pytest.mark.parametrize("kind", [AttributeError, SystemError, RuntimeError, ImportError, MemoryError, Exception])
def test_any_exception_is_a_bad_input_that_names_it(kind: type[Exception]) -> None:
    with pytest.raises(BadInputError) as caught, foreign("bad_image", "the library"):
        raise kind("two\n  lines")
    assert str(caught.value) == f"bad_image: the library: {kind.__name__}: two lines"
    assert isinstance(caught.value.__cause__, kind)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_who_ends_the_process_does(kind: type[BaseException]) -> None:
    with pytest.raises(kind), foreign("bad_image", "the library"):
        raise kind
