"""When an image was acquired, as products tell it in many ways."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_WITH_COLONS = re.compile(r"(\d{4}):(\d\d):(\d\d)(?=\D|$)")
_FRACTION = re.compile(r"(\.\d{6})\d+")


def moment(*texts: str | None) -> str | None:
    """The first of these that is a time, as RFC 3339 has it, in UTC; so it is without a zone.

    >>> moment(None, "2023-09-01T02:00:00+0200")
    '2023-09-01T00:00:00Z'
    >>> moment("2023:09:01 10:11:12.5")
    '2023-09-01T10:11:12.500000Z'
    >>> moment("yesterday")
    """
    for text in texts:
        plain = _FRACTION.sub(r"\1", _WITH_COLONS.sub(r"\1-\2-\3", (text or "").strip("{} \0\n")))
        try:
            found = datetime.fromisoformat(plain)
            if found.tzinfo is not None:
                found = found.astimezone(UTC)
        except (ValueError, OverflowError):
            continue
        return f"{found.replace(tzinfo=None).isoformat()}Z"
    return None
