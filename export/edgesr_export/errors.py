"""The one error of this folder."""


class ExportError(Exception):
    """A network cannot be written, read or run as ONNX; the message is one line."""

    exit_code = 2


def one_line(error: BaseException, limit: int = 240) -> str:
    """First line of ``error`` that says something, cut to ``limit`` characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:limit]
