"""Templates: what Docker printed for each, and properties that hold for any text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.golang.template import TemplateError, parse, render

# Made with the docker command 28.2 on a real container; errors are Go's own sentences.
GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parent / "golden" / "templates.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["template"])
def test_prints_and_fails_as_docker_does(case: dict[str, str]) -> None:
    try:
        found = {
            "template": case["template"],
            "text": render(parse(case["template"]), GOLDEN["data"]),
        }
    except TemplateError as error:
        found = {"template": case["template"], "error": str(error)}
    assert found == case


@given(st.text(max_size=60))
def test_text_without_actions_is_unchanged(text: str) -> None:
    if "{{" not in text:
        assert render(parse(text), {}) == text


@given(st.text(alphabet="{}|().$:=, \"'`-/*ab1eidfnwthrge\n\\\t", max_size=60))
def test_hostile_text_gives_text_or_an_error(text: str) -> None:
    try:
        render(parse("{{" + text), {"a": {"b": [1, "x"]}})
    except TemplateError as error:
        assert str(error).startswith("template: ")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_json_function_round_trips(value: Any) -> None:
    shown = render(parse("{{json .value}}"), {"value": value})
    assert json.loads(shown) == value


@given(st.lists(st.text(alphabet="abc", min_size=1), max_size=5))
def test_join_and_range_agree(words: list[str]) -> None:
    joined = render(parse('{{join .w ","}}'), {"w": words})
    ranged = render(parse("{{range $i, $e := .w}}{{if $i}},{{end}}{{$e}}{{end}}"), {"w": words})
    assert joined == ranged == ",".join(words)


@given(st.text(max_size=20))
def test_quoted_strings_come_back(text: str) -> None:
    from jubako.golang.quote import quote

    assert render(parse("{{" + quote(text) + "}}"), {}) == text


def test_names_of_fields_match_acronyms_in_capitals() -> None:
    assert render(parse("{{.ID}} {{.NanoCPUs}}"), {"Id": "x", "NanoCpus": 5}) == "x 5"
    with pytest.raises(TemplateError, match='map has no entry for key "id"'):
        render(parse("{{.id}}"), {"Id": "x"})


def test_endless_template_ends() -> None:
    with pytest.raises(TemplateError, match="maximum template depth"):
        render(parse('{{define "a"}}{{template "a"}}{{end}}{{template "a"}}'), {})


def test_deep_nesting_is_refused_not_a_crash() -> None:
    with pytest.raises(TemplateError, match="max expression depth"):
        parse("{{" + "(" * 5000 + ")" * 5000 + "}}")
    with pytest.raises(TemplateError, match="max expression depth"):
        parse("{{if .a}}" * 5000)


def test_a_name_appears_in_errors() -> None:
    with pytest.raises(TemplateError, match="^template: log-tag:1: unclosed action$"):
        parse("{{.ID", "log-tag")
    with pytest.raises(TemplateError, match='^template: log-tag:1:2: executing "log-tag" at <.X>'):
        render(parse("{{.X}}", "log-tag"), {"Y": 1})
