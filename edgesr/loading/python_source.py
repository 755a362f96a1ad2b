"""What may stand in a Python file that edgesr writes: nothing gets there but through here.

Names of layers, options and states come from files and networks of anyone. They reach the text as
literals of plain data, as identifiers that were checked, or as words of a docstring, which they
cannot end.
"""

from __future__ import annotations

import math
from keyword import iskeyword
from typing import Any

from edgesr.errors import ModelError


def literal(value: Any) -> str:
    """Plain data as Python writes it: None, bool, int, finite float, str, and lists, tuples and
    dictionaries of these.

    Raises:
        ModelError: anything else.
    """
    if value is None or type(value) in (bool, str):
        return repr(value)
    if type(value) is int and abs(value) < 2**64:
        return repr(value)
    if type(value) is float and math.isfinite(value):
        return repr(value)
    if type(value) is list:
        return f"[{', '.join(map(literal, value))}]"
    if type(value) is tuple:
        return f"({''.join(f'{literal(one)}, ' for one in value).removesuffix(' ')})"
    if type(value) is dict:
        pairs = (f"{literal(key)}: {literal(one)}" for key, one in value.items())
        return f"{{{', '.join(pairs)}}}"
    shown = value if type(value) is float else f"a {type(value).__name__}"
    raise ModelError(f"{shown} cannot be written into a Python file; only plain data can")


def is_name(text: str) -> bool:
    """Whether ``text`` is one Python identifier."""
    return text.isidentifier() and not iskeyword(text)


def name(text: str) -> str:
    """``text`` itself, where it is an identifier, or several with dots between them.

    Raises:
        ModelError: it is none.
    """
    if not all(map(is_name, text.split("."))):
        raise ModelError(f"{text!r:.80} is no Python name, so no Python file can use it")
    return text


def docs(text: str) -> str:
    r"""``text`` as it may stand in a docstring: quotes, backslashes and line breaks escaped."""
    return repr(text)[1:-1].replace('"', '\\"')
