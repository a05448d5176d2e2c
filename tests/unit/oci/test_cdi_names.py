"""Names of CDI devices; paths of device nodes are none."""

from __future__ import annotations

import pytest

from jubako.oci import cdi_names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vendor.com/class=name", ("vendor.com/class", "name")),
        ("nvidia.com/gpu=0", ("nvidia.com/gpu", "0")),
        ("nvidia.com/gpu=0:1", ("nvidia.com/gpu", "0:1")),
        ("/dev/null", None),
        ("/dev/disk/by-id=x", None),
        ("/dev/null:/dev/x=y", None),
        ("vendor.com/class", None),
        ("vendor.com/class=", None),
        ("vendor.com/class=-a", None),
        ("vendor.com/class=a\n", None),
        ("vendor.com/a/b=c", None),
        ("1vendor/class=a", None),
        ("vendor.com/class=" + "a" * 2000, None),
        ("", None),
    ],
)
def test_split(text: str, expected: tuple[str, str] | None) -> None:
    assert cdi_names.split(text) == expected
    assert cdi_names.is_qualified(text) is (expected is not None)


def test_parts() -> None:
    assert cdi_names.is_kind("a.b/c-d") and not cdi_names.is_kind("a.b/c.d")
    assert cdi_names.is_name("0") and not cdi_names.is_name("a/b")
