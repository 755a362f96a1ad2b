"""The report and its page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgesr.report import validate
from edgesr.report.model import Report
from edgesr.report.page import write_page
from edgesr.report.pictures import Pictures
from edgesr.run_folder import PAGE


def write_report(report: Report, pictures: Pictures, folder: Path) -> dict[str, Any]:
    """Check a report, write its page into ``folder`` and return it in plain values.

    Raises:
        ReportError: it does not fit its schema.
    """
    content = report.to_dict()
    validate(content)
    write_page(report, pictures, folder / PAGE)
    return content
