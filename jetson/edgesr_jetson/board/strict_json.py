"""JSON that is read one way only: what the standard leaves open is refused."""

from __future__ import annotations

import json
import math
from typing import Any

_MOST_LEVELS = 64
_MOST_DIGITS = 18


def parse_json(content: bytes) -> Any:
    """Value of a JSON document in UTF-8.

    Raises:
        ValueError: no JSON, a key that comes twice, NaN, an infinity, a whole number of more than
            18 digits, or more than 64 levels.
    """
    try:
        document = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except RecursionError:
        raise ValueError(f"more than {_MOST_LEVELS} levels") from None
    level = [document]
    for _ in range(_MOST_LEVELS):
        level = [
            child
            for value in level
            if isinstance(value, (dict, list))
            for child in (value.values() if isinstance(value, dict) else value)
        ]
    if level:
        raise ValueError(f"more than {_MOST_LEVELS} levels")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice in one object")
    return found


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a number that is not finite, {text:.20}")
    return value
