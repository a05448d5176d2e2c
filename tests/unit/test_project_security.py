"""docs/security.md names tests that exist, and every test of an attack."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
DOCUMENT = TESTS.parent / "docs" / "security.md"


def functions_of(pattern: str) -> set[str]:
    text = "\n".join(path.read_text() for path in TESTS.rglob(pattern))
    return set(re.findall(r"^def (test_\w+)", text, re.MULTILINE))


def test_the_tests_that_the_document_names_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT.read_text()))
    assert named <= functions_of("test_*.py")


def test_the_document_names_every_test_of_an_attack() -> None:
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT.read_text()))
    consent = {
        "test_shared_namespaces_are_what_they_say",
        "test_privileged_is_everything_that_docker_gives",
    }
    assert functions_of("test_attack_*.py") - named == consent  # what was asked for is no attack
