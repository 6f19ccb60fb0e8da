"""cpu: which instructions the system names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tggbc_ros.backends.cpu import dot_products


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse4_2 avx2 avx512_vnni avx512_bf16\n", {"avx512_vnni"}),
        ("processor\t: 0\nflags\t\t: fpu sse4_2 avx2 fma\n", set()),
        ("processor : 0\nFeatures : fp asimd asimddp i8mm\n", {"asimddp", "i8mm"}),
        ("processor : 0\n", None),
    ],
    ids=["Zen 4", "Haswell", "Jetson", "silent"],
)
def test_what_it_says(tmp_path: Path, text: str, found: set[str] | None) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert dot_products(tmp_path / "cpuinfo") == found
    assert dot_products(tmp_path / "none") is None
