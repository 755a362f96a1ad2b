"""Long work in a process of its own: it ends in time, and says how far it is.

Recording a network happens in C++, which nothing in the same process can stop. The process is
forked, as a network need not be one that can be pickled; where there is no fork, or the network
lies on a GPU, the work is done here and takes as long as it takes.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesr_export.errors import ExportError

if TYPE_CHECKING:
    from torch import nn

SILENT_SECONDS = 5.0
"""Work that takes longer says how far it is, and then again each time as long has passed."""

_LOGGER = logging.getLogger("edgesr")


class TooLongError(ExportError):
    """The time was up."""


class Calls:
    """Calls of modules, counted across processes: how many there are, and how many are done."""

    def __init__(self) -> None:
        self._counts = multiprocessing.RawArray("q", 2)

    def follow(self, run: Callable[[], object], work: Callable[[], object]) -> None:
        """Count the calls of ``run``, and then those of ``work``, which calls them again."""
        from torch.nn.modules.module import register_module_forward_hook

        def count(*_: Any) -> None:
            self._counts[which] += 1

        hook = register_module_forward_hook(count)
        try:
            which = 0
            run()
            which = 1
            work()
        finally:
            hook.remove()

    def text(self, seconds: float) -> str:
        """How far the work is after ``seconds``, with an estimate where one can be made."""
        total, done = self._counts
        if not 0 < done < total:
            return "preparing" if not done else "all calls followed, writing them"
        left = seconds * (total - done) / done
        return f"{done:,} of {total:,} calls followed, about {left:.0f} s for the others"


def can_limit(module: nn.Module) -> bool:
    """Whether work with the module can be done in a process of its own here."""
    on_cpu = all(one.device.type == "cpu" for one in (*module.parameters(), *module.buffers()))
    forks = sys.platform == "linux" and "fork" in multiprocessing.get_all_start_methods()
    return on_cpu and forks and not multiprocessing.current_process().daemon


def limited(
    work: Callable[[Path], None],
    path: Path,
    what: str,
    seconds: float,
    told: Callable[[float], str],
) -> None:
    """Let a process of its own do ``work``, which writes ``path``, within ``seconds``.

    Args:
        work: raises ExportError alone.
        path: file that it is given.
        what: is done, for messages: "recording Net".
        seconds: after which it is stopped.
        told: how far it is, asked with the seconds that have passed.

    Raises:
        TooLongError: the time was up.
        ExportError: of ``work``, or its process died.
    """
    context = multiprocessing.get_context("fork")
    ours, its = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(work, path, its), daemon=True)
    began, said = time.monotonic(), SILENT_SECONDS
    process.start()
    its.close()
    try:
        while not ours.poll(min(1.0, seconds)):
            passed = time.monotonic() - began
            if passed >= seconds:
                line = f"{what} took longer than {seconds:g} s and was left out ({told(passed)})"
                _LOGGER.info(line)
                raise TooLongError(line)
            if passed >= said:
                said = passed + SILENT_SECONDS
                _LOGGER.info(f"{what}: {told(passed)}; {passed:.0f} s, {seconds:g} s at most")
        try:
            error = ours.recv()
        except EOFError:
            process.join()
            raise ExportError(
                f"{what} ended without a word (exit code {process.exitcode}); memory may be short"
            ) from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if error:
        raise ExportError(error)


def _child(work: Callable[[Path], None], path: Path, its: Any) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who waits for it stops it
    torch.set_num_threads(1)  # the threads of before the fork are not here
    try:
        work(path)
    except ExportError as error:
        its.send(str(error))
    else:
        its.send("")
