# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A bash completion script from an argparse tree.

Words come from tables of constants; names of containers and images are asked for, and never pass through ``compgen -W``, which would expand
them. What a positional or the value of an option is, its metavar says: CONTAINER, IMAGE, FILE, DIRECTORY.
"""

from __future__ import annotations

import argparse

from .command_tree import tree

_DYNAMIC = {"CONTAINER": "@containers", "IMAGE": "@images", "FILE": "@files", "DIRECTORY": "@directories"}

_SCRIPT = r"""# bash completion for ds01; made by: ds01 completion bash
_ds01_offer() {
    local word
    for word in "$@"; do
        case $word in
            @containers | @images)
                while IFS= read -r word; do
                    [[ $word == "$cur"* ]] && COMPREPLY+=("$word")
                done < <("${COMP_WORDS[0]}" completion "${word#@}" 2>/dev/null)
                ;;
            @files | @directories)
                compopt -o filenames 2>/dev/null
                while IFS= read -r word; do
                    COMPREPLY+=("$word")
                done < <(if [[ $1 == @files ]]; then compgen -f -- "$cur"; else compgen -d -- "$cur"; fi)
                ;;
            *) [[ $word == "$cur"* ]] && COMPREPLY+=("$word") ;;
        esac
    done
}

_ds01() {
    local cur=${COMP_WORDS[COMP_CWORD]} command="" value="" word at
    local -A _ds01_commands=(
%(commands)s
    ) _ds01_options=(
%(options)s
    ) _ds01_values=(
%(values)s
    ) _ds01_positionals=(
%(positionals)s
    )
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if [[ $word != -* && " ${_ds01_commands[${command:-ds01}]} " == *" $word "* ]]; then
            command="${command:+$command }$word"
        fi
    done
    value="${command:-ds01} ${COMP_WORDS[COMP_CWORD-1]}"
    if [[ -n ${_ds01_values[$value]+set} ]]; then
        _ds01_offer ${_ds01_values[$value]}
    elif [[ $cur == -* ]]; then
        _ds01_offer ${_ds01_options[${command:-ds01}]}
    elif [[ -n ${_ds01_commands[${command:-ds01}]} ]]; then
        _ds01_offer ${_ds01_commands[${command:-ds01}]}
    else
        _ds01_offer ${_ds01_positionals[${command:-ds01}]}
    fi
}
complete -F _ds01 ds01
"""


def _kind(action: argparse.Action) -> str:
    if action.choices is not None:
        return " ".join(map(str, action.choices))
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    return _DYNAMIC.get(metavar, "")


def _entries(table: dict[str, str]) -> str:
    for key, value in table.items():
        for text in (key, value):
            if any(sign in text for sign in "\"'`$\\*?[]\n"):
                raise ValueError(f"{text!r} can't stand in the completion script")
    return "\n".join(f'        ["{key}"]="{value}"' for key, value in table.items())


def bash_script(parser: argparse.ArgumentParser) -> str:
    """The script; sourced by bash, or by zsh after bashcompinit."""
    commands: dict[str, str] = {}
    options: dict[str, str] = {}
    values: dict[str, str] = {}
    positionals: dict[str, str] = {}
    for node in tree(parser):
        key = node.path or "ds01"
        commands[key] = " ".join(node.children)
        named = [action for action in node.parser._actions if action.option_strings and action.help != argparse.SUPPRESS]
        options[key] = " ".join(name for action in named for name in action.option_strings if name.startswith("--"))
        for action in named:
            if action.nargs != 0:
                values.update({f"{key} {name}": _kind(action) for name in action.option_strings})
        plain = (one for one in node.parser._actions if not one.option_strings and not isinstance(one, argparse._SubParsersAction))
        positionals[key] = " ".join(filter(None, map(_kind, plain)))
    tables = {"commands": commands, "options": options, "values": values, "positionals": positionals}
    return _SCRIPT % {name: _entries(table) for name, table in tables.items()}
