"""Writes `docs/cli.md` from the declarations of the commands.

    python -m jubako.cli.manual > docs/cli.md

A test compares the file with what this writes.
"""

from __future__ import annotations

from jubako import errors
from jubako.cli import help, tree
from jubako.cli.completion import SHELLS
from jubako.cli.texts import GROUPS, TEXTS
from jubako.golang.template.functions import NAMES

_COLUMNS = 92

_INTRODUCTION = """\
# The command line

<!-- Written by `python -m jubako.cli.manual`; a test keeps it so. -->

`jubako` takes Docker's commands, flags and templates, prints what Docker prints and ends with
Docker's exit codes. This page lists all of it. What differs from Docker is at the end.

## Exit codes

| code | meaning |
|---|---|
| 0 | it worked |
| 125 | a flag is wrong (any command), or the engine failed before the program ran (`run`) |
| 126, 127 | the program cannot be executed, was not found (`run`, `exec`) |
| the program's own, 128 + signal | the program ended (`run`, `exec`, `start -a`, `attach`) |
| 130 | Ctrl-C, after cleaning up |
| 64 | a template of `inspect`, `info` or `version` does not parse |
| 1 | anything else |

An error is a line `jubako: ...` on stderr. What helps against it, if we know, is on the next line,
which begins with `hint: `.

## Environment

| variable | meaning |
|---|---|
| `JUBAKO_ROOT` | the directory of images, containers and volumes, when `--root` does not name it |
| `JUBAKO_EXPLAIN` | `text` or `json`: `--explain` without the flag |
| `NO_COLOR`, `TERM=dumb` | no colours |

## Formats

`--format` of the lists takes `table` (the default), `json` (one object a line), `table TEMPLATE`
and `TEMPLATE`; that of `inspect`, `info` and `version` takes `json` and `TEMPLATE`. `\\t` and `\\n`
may be written out in a list's template.

A template is Go's `text/template`: fields (`.State.Pid`), variables (`$x := .Id`), pipes, `if`,
`else if`, `with`, `range`, `break`, `continue`, `define`, `template`, `block`, comments, trimming
(`{{- -}}`), and the functions
"""

_DIFFERENCES = """\
## What differs from Docker

- There is no daemon. `--host`, `--context`, `--config`, `--tls...` do not exist; `--root` and
  `JUBAKO_ROOT` choose between engines.
- Commands that change something have `--explain`, which tells what they make the kernel do
  ([explain.md](explain.md)); `--debug` prints the same line by line, as it happens.
- `bootstrap` makes a base image from a distribution's signed archive.
- Flags that are not there yet are accepted by the parser and refused in words, with exit code 1;
  their help says so. Commands that are not there yet say what to use instead.
- Where Docker prints `Error response from daemon: `, we print `jubako: `.
- Templates see JSON, not Go's types: `{{.State}}` prints the values of an object, without Go's
  pointers and type names.
"""


def render() -> str:
    """The whole manual."""
    parts = [_INTRODUCTION.rstrip("\n")]
    names = [f"`{name}`" for name in sorted(NAMES)]
    half = len(names) // 2
    parts.append(", ".join(names[:half]) + ",\n" + ", ".join(names[half:]) + ".\n")
    parts.append("## The program\n")
    parts.append(_block(help.render("", _COLUMNS)))
    for name in sorted(tree.TOP):
        parts.append(_command(name, tree.TOP[name]))
    for group in sorted(tree.GROUPS):
        parts.append(f"## jubako {group}\n\n{GROUPS[group]}.\n")
        parts.append(_block(help.render(group, _COLUMNS)))
        for name, module in sorted(tree.GROUPS[group].items()):
            if module not in tree.TOP.values():
                parts.append(_command(f"{group} {name}", module))
    parts.append(_completions())
    parts.append(_errors())
    parts.append(_DIFFERENCES)
    return "\n".join(parts)


def _command(path: str, module: str) -> str:
    page = help.render(path, _COLUMNS)
    return f"### jubako {path}\n\n{TEXTS[module].summary}.\n\n{_block(page)}"


def _block(text: str) -> str:
    return f"```\n{text.rstrip()}\n```\n"


def _errors() -> str:
    """The classes of errors, which are the stable names of what went wrong."""
    lines = [
        "## Errors\n",
        "The classes that the Python API raises; their names are the codes of errors in JSON.\n",
        "| class | HTTP status | meaning |",
        "|---|---|---|",
    ]
    for name, found in sorted(vars(errors).items()):
        if isinstance(found, type) and issubclass(found, errors.JubakoError):
            meaning = (found.__doc__ or "").partition("\n")[0].rstrip(".")
            lines.append(f"| `{name}` | {found.http_status} | {meaning} |")
    return "\n".join([*lines, ""])


def _completions() -> str:
    lines = ["## Completion\n"]
    lines.append(f"`jubako completion SHELL` writes a script for {', '.join(SHELLS)}:\n")
    lines.append("```sh")
    lines.append("source <(jubako completion bash)                    # this shell, bash")
    lines.append("jubako completion bash > /etc/bash_completion.d/jubako")
    lines.append("jubako completion fish > ~/.config/fish/completions/jubako.fish")
    lines.append("jubako completion zsh > /usr/local/share/zsh/site-functions/_jubako")
    return "\n".join([*lines, "```\n"])


if __name__ == "__main__":
    print(render(), end="")
