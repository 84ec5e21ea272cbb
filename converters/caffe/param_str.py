"""Settings of layers that are written in Python: what their ``param_str`` holds."""

from __future__ import annotations

import ast
from typing import Any

from caffe2lrp.converters.caffe.layers import ParameterError


def read_param_str(text: str) -> dict[str, Any]:
    """Settings by name: a Python dict, with or without braces, or ``name: value`` lines (YAML's simplest form).

    Raises
    ------
    ParameterError
        If it is neither.
    """
    for source in (text, f"{{{text}}}"):
        value = _literal(source.strip())
        if isinstance(value, dict):
            return {str(key): value for key, value in value.items()}
    settings = {}
    for line in filter(None, map(str.strip, text.strip().strip("{}").splitlines())):
        key, colon, value = line.partition(":")
        if not colon:
            raise ParameterError(f"param_str has the line '{line}', which is not 'name: value'")
        settings[key.strip().strip("'\"")] = _yaml(value.strip().rstrip(","))
    return settings


def _yaml(text: str) -> Any:
    return text == "true" if text in ("true", "false") else _literal(text)


def _literal(text: str) -> Any:
    """A Python literal, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
