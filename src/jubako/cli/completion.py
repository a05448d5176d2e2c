"""Completion scripts for bash, zsh and fish, generated from the declarations of the commands.

The scripts know commands and flags; names of containers, images, volumes and networks they ask
for with `jubako ... --format`, when the user presses the key.
"""

from __future__ import annotations

import re

from jubako.cli import explain, help, tree
from jubako.cli.flags import BOOL, Flag
from jubako.cli.main import GLOBAL
from jubako.cli.texts import GLOBAL as GLOBAL_TEXTS
from jubako.cli.texts import GROUPS, TEXTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS = ("bash", "fish", "zsh")

# What the arguments of a command are, by the first of these words in its usage.
_ARGUMENTS = {
    "CONTAINER": "containers",
    "NAME|ID": "containers",
    "IMAGE": "images",
    "REPOSITORY": "images",
    "NETWORK": "networks",
    "VOLUME": "volumes",
    "file": "files",
}
_ARGUMENT = re.compile("|".join(map(re.escape, _ARGUMENTS)))
_LISTS = {
    "containers": "ps --all --format '{{.Names}}'",
    "images": "images --format '{{.Repository}}:{{.Tag}}'",
    "networks": "network ls --format '{{.Name}}'",
    "volumes": "volume ls --format '{{.Name}}'",
}
# Flags whose value is a file or directory; the shell completes those best.
_FILE_FLAGS = frozenset("cidfile env-file input label-file output root".split())


def script(shell: str) -> str:
    """The completion script for one of SHELLS."""
    return {"bash": _bash, "fish": _fish, "zsh": _zsh}[shell]()


def commands() -> Iterator[tuple[str, str]]:
    """(path, module) of every command, synonyms included."""
    for name, module in sorted(tree.TOP.items()):
        yield name, module
    for group, members in sorted(tree.GROUPS.items()):
        for name, module in sorted(members.items()):
            yield f"{group} {name}", module
        for alias, name in sorted(tree.ALIASES.get(group, {}).items()):
            yield f"{group} {alias}", members[name]


def _arguments(module: str) -> str:
    """Which list completes the arguments of a command, or ""."""
    usage = help.command(module).usage.replace("[VOLUME]", "")  # a name for a new one
    found = _ARGUMENT.search(usage)
    return _ARGUMENTS[found[0]] if found else ""


def _names(flags: list[Flag]) -> list[str]:
    """Every spelling of the flags: `-a`, `--all`."""
    found: list[str] = []
    for flag in flags:
        found += [f"-{flag.short}", f"--{flag.name}"] if flag.short else [f"--{flag.name}"]
    return found


def _flags(module: str) -> list[Flag]:
    """The flags to offer: those that work, and --help."""
    declared = help.visible(explain.flags_of(module, help.command(module)))
    found = [flag for flag in declared if not flag.refused]
    if not any(flag.name == "help" for flag in found):
        found.append(Flag("help"))
    return found


def _with_value(flags: list[Flag]) -> list[Flag]:
    return [flag for flag in flags if flag.kind.bare is None]


def _usage(module: str, flag: Flag) -> str:
    """The first line of a flag's usage."""
    texts = {**explain.TEXTS, **TEXTS[module].flags}
    return texts.get(flag.name, "Print usage").partition("\n")[0]


def _top_words() -> list[str]:
    return sorted({*tree.TOP, *tree.GROUPS})


def _bash() -> str:
    lines = [
        "# bash completion for jubako; load it with",
        "#     source <(jubako completion bash)",
        "",
        "_jubako_list() {",
        '    case "$1" in',
    ]
    for kind, call in _LISTS.items():
        lines.append(f"        {kind}) jubako $_jubako_root {call} 2>/dev/null ;;")
    lines += [
        "    esac",
        "}",
        "",
        "_jubako() {",
        '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"',
        '    local words="" path="" flags="" valued="" files="" list="" i=1 word _jubako_root=""',
        '    while [ "$i" -lt "$COMP_CWORD" ]; do',
        '        word="${COMP_WORDS[i]}"',
        '        case "$word" in',
        '            --root) _jubako_root="--root ${COMP_WORDS[i+1]}"; i=$((i + 1)) ;;',
        "            -*) ;;",
        '            *) path="$word"; break ;;',
        "        esac",
        "        i=$((i + 1))",
        "    done",
        '    case "$path" in',
        f"        {'|'.join(sorted(tree.GROUPS))})",
        '            if [ "$((i + 1))" -lt "$COMP_CWORD" ]; then',
        '                path="$path ${COMP_WORDS[i+1]}"',
        "            fi ;;",
        "    esac",
        '    case "$path" in',
        f'        "") words="{" ".join(_top_words())}"',
        f'            flags="{" ".join(_names([*GLOBAL.flags, Flag("help")]))}"',
        f'            valued="{" ".join(_names(_with_value(list(GLOBAL.flags))))}"',
        '            files="--root" ;;',
    ]
    for group, members in sorted(tree.GROUPS.items()):
        names = sorted({*members, *tree.ALIASES.get(group, {})})
        lines.append(f'        {group}) words="{" ".join(names)}"; flags="--help" ;;')
    for path, module in commands():
        flags = _flags(module)
        lines.append(f'        "{path}") flags="{" ".join(_names(flags))}"')
        lines.append(f'            valued="{" ".join(_names(_with_value(flags)))}"')
        files = [flag for flag in flags if flag.name in _FILE_FLAGS]
        lines.append(
            f'            files="{" ".join(_names(files))}" list="{_arguments(module)}" ;;'
        )
    lines += [
        "    esac",
        '    case " $files " in',
        '        *" $prev "*) [ -n "$prev" ] && COMPREPLY=($(compgen -f -- "$cur")) && return ;;',
        "    esac",
        '    case " $valued " in',
        '        *" $prev "*) [ -n "$prev" ] && return ;;',
        "    esac",
        '    case "$cur" in',
        '        -*) COMPREPLY=($(compgen -W "$flags" -- "$cur")); return ;;',
        "    esac",
        '    if [ "$list" = files ]; then',
        '        COMPREPLY=($(compgen -f -- "$cur"))',
        "        return",
        "    fi",
        '    [ -n "$list" ] && words="$(_jubako_list "$list")"',
        '    COMPREPLY=($(compgen -W "$words" -- "$cur"))',
        "    if declare -F __ltrim_colon_completions >/dev/null; then",
        '        __ltrim_colon_completions "$cur"',
        "    fi",
        "}",
        "",
        "complete -F _jubako jubako",
    ]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    """A word for fish and zsh: single quotes with what they escape."""
    return text.replace("\\", "\\\\").replace("'", "'\\''")


def _fish() -> str:
    lines = [
        "# fish completion for jubako; install it with",
        "#     jubako completion fish > ~/.config/fish/completions/jubako.fish",
        "",
        "function __jubako_at",
        "    # whether the words before the cursor begin with the command in $argv",
        "    set -l words (commandline -opc)",
        "    set -e words[1]",
        "    set -l found",
        "    set -l skip 0",
        "    for word in $words",
        "        if test $skip = 1",
        "            set skip 0",
        "        else if test $word = --root",
        "            set skip 1",
        "        else if not string match -q -- '-*' $word",
        "            set -a found $word",
        "        end",
        "    end",
        "    if test (count $argv) = 0",
        "        test (count $found) = 0",
        "        return",
        "    end",
        "    set -l wanted (count $argv)",
        '    test "$found[1..$wanted]" = "$argv"',
        "end",
        "",
        "function __jubako_only",
        "    # the same, with nothing after it",
        "    __jubako_at $argv; or return",
        "    set -l words (commandline -opc | string match -v -- '-*')",
        "    test (math (count $words) - 1) = (count $argv)",
        "end",
        "",
        "complete -c jubako -f",
    ]
    for flag in GLOBAL.flags:
        lines.append(
            f"complete -c jubako -n __jubako_at {_fish_flag(flag, GLOBAL_TEXTS[flag.name])}"
        )
    for name in _top_words():
        text = GROUPS.get(name) or TEXTS[tree.TOP[name]].summary
        lines.append(f"complete -c jubako -n __jubako_at -a {name} -d '{_quote(text)}'")
    for group, members in sorted(tree.GROUPS.items()):
        for name, module in sorted(members.items()):
            text = TEXTS[module].summary
            lines.append(
                f"complete -c jubako -n '__jubako_only {group}' -a {name} -d '{_quote(text)}'"
            )
    for path, module in commands():
        at = f"complete -c jubako -n '__jubako_at {path}'"
        lines += [f"{at} {_fish_flag(flag, _usage(module, flag))}" for flag in _flags(module)]
        kind = _arguments(module)
        if kind == "files":
            lines.append(f"{at} -F")
        elif kind:
            lines.append(f'{at} -a "(jubako {_fish_call(kind)} 2>/dev/null)"')
    return "\n".join(lines) + "\n"


def _fish_call(kind: str) -> str:
    return _LISTS[kind]


def _fish_flag(flag: Flag, usage: str) -> str:
    words = [f"-s {flag.short}"] if flag.short else []
    words.append(f"-l {flag.name}")
    if flag.kind is not BOOL:
        words.append("-r -F" if flag.name in _FILE_FLAGS else "-x")
    return " ".join([*words, f"-d '{_quote(usage)}'"])


def _zsh() -> str:
    lines = [
        "#compdef jubako",
        "# zsh completion for jubako; install it with",
        "#     jubako completion zsh > ${fpath[1]}/_jubako",
        "",
    ]
    for kind, call in _LISTS.items():
        lines += [
            f"__jubako_{kind}() {{",
            "    local -a found",
            f'    found=("${{(@f)$(jubako {call} 2>/dev/null)}}")',
            "    compadd -- ${found:#}",
            "}",
            "",
        ]
    for path, module in commands():
        lines += [f"_jubako_{_function(path)}() {{", "    _arguments -s -S \\"]
        for flag in _flags(module):
            lines += [f"        {spec} \\" for spec in _zsh_flag(flag, _usage(module, flag))]
        kind = _arguments(module)
        action = "_files" if kind == "files" else f"__jubako_{kind}" if kind else "_default"
        lines += [f"        '*:argument:{action}'", "}", ""]
    for group, members in sorted(tree.GROUPS.items()):
        described = [(name, TEXTS[module].summary) for name, module in sorted(members.items())]
        lines += _zsh_group(f"_jubako_{_function(group)}", described, f"{group} ", "")
    described = [(name, GROUPS.get(name) or TEXTS[tree.TOP[name]].summary) for name in _top_words()]
    flags = "".join(
        f"        {spec} \\\n"
        for flag in GLOBAL.flags
        for spec in _zsh_flag(flag, GLOBAL_TEXTS[flag.name])
    )
    lines += _zsh_group("_jubako", described, "", flags)
    lines.append('_jubako "$@"')
    return "\n".join(lines) + "\n"


def _zsh_group(
    function: str, described: list[tuple[str, str]], prefix: str, flags: str
) -> list[str]:
    lines = [f"{function}() {{", "    local state line", "    local -a names", "    names=("]
    for name, text in described:
        lines.append(f"        '{_quote(f'{name}:{text}')}'")
    lines += [
        "    )",
        "    _arguments -C \\",
        f"{flags}        '--help[Print usage]' '1: :->command' '*:: :->arguments'",
        "    case $state in",
        "        command) _describe command names ;;",
        "        arguments)",
        f'            local name="{prefix}$line[1]"',
        '            (( $+functions[_jubako_${name// /_}] )) && "_jubako_${name// /_}" ;;',
        "    esac",
        "}",
        "",
    ]
    return lines


def _function(path: str) -> str:
    return path.replace(" ", "_")


def _zsh_flag(flag: Flag, usage: str) -> list[str]:
    text = _quote(usage).replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    value = ""
    if flag.kind is not BOOL:
        value = f":{flag.kind.name}:" + ("_files" if flag.name in _FILE_FLAGS else "")
    star = "*" if flag.kind.many else ""
    specs = [f"'{star}--{flag.name}{'=' if value else ''}[{text}]{value}'"]
    if flag.short:
        specs.insert(0, f"'{star}-{flag.short}{'+' if value else ''}[{text}]{value}'")
    return specs
