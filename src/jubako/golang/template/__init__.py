"""Go's `text/template`, as far as Docker's `--format` needs it.

    {{.Field.Sub}} {{$}} {{$x := .A}} {{$x = .B}} {{(index .List 0).Name}} {{.Method "argument"}}
    {{if}} {{else if}} {{else}} {{with}} {{range $i, $e := .List}} {{break}} {{continue}} {{end}}
    {{define "name"}} {{template "name" .}} {{block "name" .}} {{/* comment */}} {{- trim -}}
    {{.A | json}} and the functions in `jubako.golang.template.functions`

Data are what JSON gives (dict, list, str, int, float, bool, None), or objects with a `lookup`.
"""

from __future__ import annotations

from jubako.golang.template.errors import TemplateError
from jubako.golang.template.evaluate import render
from jubako.golang.template.parser import Template, parse

__all__ = ["Template", "TemplateError", "parse", "render"]
