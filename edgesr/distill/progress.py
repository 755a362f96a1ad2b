"""What a training tells: a moving bar on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgesr.history import MPSNR, SAM
from edgesr.progress import log, shows_bars


class Report:
    """Says nothing; the base of the two that do."""

    def step(self, done: int, steps: int) -> None:
        """``done`` of the epoch's ``steps`` are over."""

    def epoch(self, entry: dict[str, Any], best: dict[str, Any]) -> None:
        """An epoch is over; ``entry`` is its line of the history."""


def _summary(entry: dict[str, Any], best: dict[str, Any]) -> str:
    kept = " *" if best["epoch"] == entry["epoch"] else ""
    return (
        f"loss {entry['train_loss']:.4f}  tuning {entry[MPSNR]:.2f} dB "
        f"{entry[SAM]:.2f} deg{kept}  best {best[MPSNR]:.2f} dB"
    )


class _Lines(Report):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def epoch(self, entry: dict[str, Any], best: dict[str, Any]) -> None:
        text = f"epoch {entry['epoch']}/{self.epochs}  {_summary(entry, best)}"
        log(f"{text}  {entry['seconds']:.1f} s")


class _Bar(Report):
    def __init__(self, progress: Any, task: Any, epochs: int, done: int) -> None:
        self.progress, self.task, self.epochs, self.done = progress, task, epochs, done

    def step(self, done: int, steps: int) -> None:
        self.progress.update(
            self.task, total=self.epochs * steps, completed=self.done * steps + done
        )

    def epoch(self, entry: dict[str, Any], best: dict[str, Any]) -> None:
        self.done = entry["epoch"]
        text = f"epoch {self.done}/{self.epochs}  {_summary(entry, best)}"
        self.progress.update(self.task, description=text)


@contextmanager
def reporting(shown: bool, epochs: int, done: int, initial: dict[str, Any]) -> Iterator[Report]:
    """A report for a training of ``epochs`` epochs of which ``done`` are over."""
    if not shown or done >= epochs:
        yield Report()
        return
    start = f"epoch {done}/{epochs}  best so far {initial[MPSNR]:.2f} dB"
    if not shows_bars():
        log(start)
        yield _Lines(epochs)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Bar(progress, progress.add_task(start, total=None), epochs, done)
