"""The table, from the results alone: which file of a row counts, and how it compares with ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import is_ours
from edgesr.evaluation.drop import worst

PAGE = Path(__file__).parents[2] / "docs" / "peers.md"
OURS = "edgesr-default"
MARKED = re.compile(r"(?<=<!-- peers -->\n).*?(?=<!-- /peers -->)", re.DOTALL)
EQUAL_WORK = 1.05
"""Times the least: files of one network in several forms differ by a little."""

HEADS = (
    "Tool", "Parameters", "MACs", "MB", "Drop, budget blocks [90 %] dB", "Drop, test dB",
    "Drop, test deg", "ms", "Times ours [95 %]", "Runtime",
)  # fmt: skip


@dataclass(frozen=True)
class Form:
    """One file of a row in one of its runtimes."""

    file: Mapping[str, Any]
    runtime: str
    drop: Mapping[str, Any]
    time: Mapping[str, Any] | None

    @property
    def work(self) -> int:
        """MACs; what could not be counted comes last."""
        return self.file["macs"] or 2**63

    @property
    def budget(self) -> Mapping[str, float]:
        """The drop on the budget blocks."""
        found: Mapping[str, float] = self.drop["budget"]
        return found


def forms(row: Mapping[str, Any]) -> list[Form]:
    """All that was judged of a row."""
    return [
        Form(file, runtime, drop, file["times"].get(runtime))
        for file in row.get("files", ())
        for runtime, drop in file["drops"].items()
    ]


def contenders(row: Mapping[str, Any], limit: float) -> list[Form]:
    """The forms of which one stands for a row, by the rule that edgesr goes by itself.

    Of the files within the limit (by the upper end of the interval) those of least work; where
    none is within, all forms of the file that loses least.
    """
    found = forms(row)
    within = [one for one in found if worst(one.budget, "psnr") <= limit]
    if within:
        least = min(one.work for one in within)
        return [one for one in within if one.work <= EQUAL_WORK * least]
    closest = min(found, key=_loss, default=None)
    return [one for one in found if closest and one.file is closest.file]


def pick(row: Mapping[str, Any], limit: float) -> Form | None:
    """The fastest of the contenders; while nothing is timed, the one that loses least."""
    found = contenders(row, limit)
    timed = [one for one in found if one.time]
    if timed:
        return min(timed, key=lambda one: one.time["ms"] if one.time else 0)
    return min(found, key=_loss, default=None)


def _loss(form: Form) -> float:
    return form.budget["psnr_drop"]


def failure(row: Mapping[str, Any]) -> str:
    """Why a tool failed, or its files while they were timed; empty where neither did."""
    found = [row.get("failed"), f"while it was timed: {why}" if (why := row.get("untimed")) else ""]
    return "; ".join(filter(None, found))


def table(content: Mapping[str, Any]) -> str:
    """Markdown: the rows, what failed, where a tool is better than edgesr's default, settings."""
    limit = content["limit_db"]
    known = sorted(content["rows"].items(), key=lambda row: (not is_ours(row[0]), row[0]))
    rows = {n: row for n, row in known if row.get("teacher") == content.get("teacher")}
    picked = {name: form for name, row in rows.items() if (form := pick(row, limit))}
    lines = [f"| {' | '.join(HEADS)} |", f"| --- | {'---: | ' * (len(HEADS) - 2)}--- |"]
    lines += [_line(rows[name], form, limit) for name, form in picked.items()]
    failed = [f"- **{row['title']}**: {why}" for row in rows.values() if (why := failure(row))]
    return "\n".join(
        [
            *lines,
            "",
            _conditions(content),
            "",
            *_better(rows, picked),
            *(["", "What failed, and why:", "", *failed] if failed else []),
            "",
            "What each was asked for:",
            "",
            *(_setting(name, row) for name, row in rows.items()),
            "",
        ]
    )


def render(content: Mapping[str, Any], page: Path = PAGE) -> None:
    """Write the table between the marks of a page."""
    page.write_text(rendered(page.read_text("utf-8"), content), "utf-8")


def rendered(text: str, content: Mapping[str, Any]) -> str:
    """A page with the table made anew."""
    return MARKED.sub(lambda _: f"\n{table(content)}\n", text)


def _line(row: Mapping[str, Any], form: Form, limit: float) -> str:
    budget, test, time = form.budget, form.drop["test"], form.time
    setting = form.file["label"]
    interval = (
        f" [{budget['psnr_low']:+.3f}, {budget['psnr_high']:+.3f}]" if "psnr_low" in budget else ""
    )
    over = "" if worst(budget, "psnr") <= limit else " (over)"
    low, high = time["ratio"] if time else (0, 0)
    cells = [
        f"{row['title']}{f', {setting}' if setting else ''}",
        _count(form.file["params"]),
        _count(form.file["macs"]),
        f"{form.file['bytes'] / 1e6:.2f}",
        f"{budget['psnr_drop']:+.3f}{interval}{over}",
        f"{test['psnr_drop']:+.3f}",
        f"{test['sam_drop']:+.3f}",
        f"{time['ms']:.1f}" if time else "–",
        f"[{low:.2f}, {high:.2f}]" if time else "–",
        form.runtime,
    ]
    return f"| {' | '.join(cells)} |"


def _conditions(content: Mapping[str, Any]) -> str:
    facts, limit = content["machine"], content["limit_db"]
    versions = ", ".join(
        f"{name} {facts[key]}"
        for name, key in (
            ("torch", "torch"), ("ONNX Runtime", "onnxruntime"), ("OpenVINO", "openvino"),
        )
        if key in facts
    )  # fmt: skip
    return (
        "A drop is what is lost against the shipped teacher; below 0 is better than it."
        f" (over): no setting that was tried holds {limit:g} dB by the upper end of its interval;"
        " shown is the one that loses least. MACs at LR 16 x 16."
        f" Milliseconds: median, LR {content['tile']} x {content['tile']},"
        f" {content['threads']} threads, each in turn with edgesr's default student, whose time it"
        f" is a multiple of. {content['date']}, {facts['cpu']}, {versions}."
    )


def _better(rows: Mapping[str, Any], picked: Mapping[str, Form]) -> list[str]:
    """Sentences: in what a tool beats edgesr's default."""
    ours = picked.get(OURS)
    if ours is None:
        return ["edgesr's default is not in the table yet, so nothing is compared with it."]
    measures: dict[str, Callable[[Form], float | None]] = {
        "fewer parameters": lambda one: one.file["params"],
        "fewer MACs": lambda one: one.file["macs"],
        "a smaller file": lambda one: one.file["bytes"],
        "a smaller drop on the budget blocks": lambda one: one.budget["psnr_drop"],
        "a smaller drop on the test region": lambda one: one.drop["test"]["psnr_drop"],
        "a shorter time": lambda one: one.time["ratio"][1] if one.time else None,
    }
    lines = ["Where a tool is better than edgesr's default:", ""]
    for what, measure in measures.items():
        own = 1.0 if what == "a shorter time" else measure(ours)
        names = [
            rows[name]["title"]
            for name, form in picked.items()
            if not is_ours(name)
            and (theirs := measure(form)) is not None
            and own is not None
            and theirs < own
        ]
        lines.append(f"- {what}: {', '.join(names) if names else 'none'}.")
    return lines


def _setting(name: str, row: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in row["versions"].items())
    tried = [file["label"] for file in row.get("files", ()) if file["label"]]
    settings = f" Tried: {', '.join(dict.fromkeys(tried))}." if tried else ""
    made = f" {row['seconds']:.0f} s." if row.get("seconds") else ""
    note = f" {row['note']}" if row.get("note") else ""
    return (
        f"- **{row['title']}** (`--only {name}`; {versions or 'not installed'}): {row['settings']}"
        f" ([documentation]({row['source']})).{settings}{made}{note}"
    )


def _count(number: int | None) -> str:
    if number is None:
        return "–"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.4g} {unit}"
    return str(number)


def names(rows: Sequence[str], asked: Sequence[str]) -> list[str]:
    """The rows whose names begin with what is asked for; all where nothing is."""
    return [name for name in rows if not asked or any(name.startswith(one) for one in asked)]
