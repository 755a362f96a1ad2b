"""The report of a run: its schema, its console summary, and the figures of an analysis."""

from edgesr.report.console import render
from edgesr.report.environment import environment
from edgesr.report.validation import (
    SCHEMA_VERSION,
    ReportError,
    load_schema,
    read_report,
    validate,
    validate_data,
)

__all__ = [
    "SCHEMA_VERSION",
    "ReportError",
    "environment",
    "load_schema",
    "read_report",
    "render",
    "validate",
    "validate_data",
]
