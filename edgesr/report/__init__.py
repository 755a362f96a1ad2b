"""The report of a run: its types and schema, its console summary, and its page."""

from edgesr.report.console import render
from edgesr.report.environment import environment
from edgesr.report.model import SCHEMA_VERSION, Report
from edgesr.report.validation import (
    ReportError,
    load_schema,
    parse,
    read,
    validate,
    validate_data,
)

__all__ = [
    "SCHEMA_VERSION",
    "Report",
    "ReportError",
    "environment",
    "load_schema",
    "parse",
    "read",
    "render",
    "validate",
    "validate_data",
]
