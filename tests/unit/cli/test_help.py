"""Help pages, the manual and the declarations behind them."""

from __future__ import annotations

from pathlib import Path

import pytest

from jubako.cli import help, manual, tree
from jubako.cli.completion import commands
from jubako.cli.main import GLOBAL
from jubako.cli.texts import GLOBAL as GLOBAL_TEXTS
from jubako.cli.texts import GROUPS, LATER, TEXTS

MODULES = sorted({module for _, module in commands()})
PS = """\
Usage:  jubako ps [OPTIONS]

List containers

Aliases:
  jubako container ls, jubako container list, jubako container ps, jubako ps

Options:
  -a, --all             Show all containers (default shows just running)
  -f, --filter filter   Filter output based on conditions provided
      --format string   Format output using a custom template:
                        'table':            Print output in table format
                        with column headers (default)
                        'table TEMPLATE':   Print output in table format
                        using the given Go template
                        'json':             Print in JSON format
                        'TEMPLATE':         Print output using the given
                        Go template.
                        Refer to docs/cli.md for more information about
                        formatting output with templates
  -n, --last int        Show n last created containers (includes all
                        states) (default -1)
  -l, --latest          Show the latest created container (includes all
                        states)
      --no-trunc        Don't truncate output
  -q, --quiet           Only display container IDs
  -s, --size            Display total file sizes
"""


def test_layout_is_dockers() -> None:
    assert help.render("ps", 80) == PS
    assert help.render("container ls", 80) == PS.replace(
        "Usage:  jubako ps", "Usage:  jubako container ls"
    )
    assert help.render("container list", 80) == help.render("container ls", 80)


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_every_page_renders_at_every_width(columns: int) -> None:
    for path in ["", *tree.GROUPS, *(path for path, _ in commands())]:
        page = help.render(path, columns)
        assert page.startswith("Usage:  jubako") and page.endswith("\n")
        assert not any(line.endswith(" ") for line in page.split("\n"))


@pytest.mark.parametrize("module", MODULES)
def test_declarations_and_texts_fit_together(module: str) -> None:
    command = help.command(module)
    text = TEXTS[module]
    names = [flag.name for flag in command.flags]
    assert len(names) == len(set(names))
    shorts = [flag.short for flag in command.flags if flag.short]
    assert len(shorts) == len(set(shorts))
    assert names == sorted(names) or module == "run"
    wanted = {flag.name for flag in help.visible(command.flags)}
    assert wanted <= set(text.flags), "a flag has no help text"
    assert set(text.flags) <= set(names), "a help text has no flag"
    assert text.summary[0].isupper() and not text.summary.endswith(".")
    words = f"{text.flags} {text.summary}".lower().replace("dockerfile", "")
    assert "docker" not in words
    for flag in command.flags:
        assert flag.into in names


def test_no_text_is_left_over() -> None:
    assert set(TEXTS) == set(MODULES)
    assert set(GROUPS) == set(tree.GROUPS)
    assert set(GLOBAL_TEXTS) == {flag.name for flag in GLOBAL.flags}


def test_every_command_module_is_reachable() -> None:
    directory = Path(help.__file__).parent / "commands"
    files = {path.stem for path in directory.glob("*.py")} - {"__init__"}
    assert files == set(MODULES)


def test_commands_that_come_later_do_not_exist_yet() -> None:
    for path in LATER:
        _, module, _ = tree.find(path.split())
        assert module is None and path not in tree.GROUPS, f"{path} exists now"


def test_the_manual_is_up_to_date(repository: Path) -> None:
    written = (repository / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == manual.render(), "run: python -m jubako.cli.manual > docs/cli.md"


def test_find_walks_the_tree() -> None:
    assert tree.find(["ps", "-a"]) == ("ps", "ps", ["-a"])
    assert tree.find(["container", "ps", "x"]) == ("container ls", "ps", ["x"])
    assert tree.find(["container", "nope"]) == ("container", None, ["nope"])
    assert tree.find(["container"]) == ("container", None, [])
    assert tree.find(["nope", "x"]) == ("", None, ["nope", "x"])
    assert tree.find([]) == ("", None, [])
