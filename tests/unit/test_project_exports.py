"""The public names: each package says in `__all__` what it offers, sorted, and has it."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import jubako

SOURCE = Path(__file__).resolve().parents[2] / "src"
PACKAGES = sorted(
    ".".join(path.parent.relative_to(SOURCE).parts)
    for path in SOURCE.rglob("__init__.py")
    if "__all__" in path.read_text()
)


def isort_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest: what editors and ruff's RUF022 make."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("name", PACKAGES)
def test_exports_are_sorted_and_exist(name: str) -> None:
    package = vars(importlib.import_module(name))
    exports = list(package["__all__"])
    assert exports in (sorted(set(exports)), sorted(set(exports), key=isort_order))
    for exported in exports:
        assert getattr(importlib.import_module(name), exported) is not None
        assert not exported.startswith("_") or exported == "__version__"


def test_library_offers_the_engine_and_every_error() -> None:
    from jubako import errors

    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.JubakoError)
    }
    assert {"Engine", *classes} <= set(vars(jubako)["__all__"])


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = jubako.no_such_name  # type: ignore[attr-defined]
