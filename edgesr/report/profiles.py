"""Profiles that a page shows: the run's own, those of ``edgesr bench --profile``, and of boards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesr.errors import DataError
from edgesr.report.board_results import BoardResult, is_absent, parse_board
from edgesr.report.board_view import board_names
from edgesr.report.model import Environment, Profile, ProfiledLayer, ProfiledNetwork, Report
from edgesr.report.validation import ReportError, check_values, typed
from edgesr.stored import read_json

ADVICE = (
    "import the result.json of a board, or what edgesr bench --profile --json printed, unchanged"
)


@dataclass(frozen=True)
class PlacedProfile:
    """A profile and where it was measured.

    Attributes:
        place: the machine or board.
        profile: of one runtime there.
    """

    place: str
    profile: Profile


@dataclass(frozen=True)
class PlacedNetwork:
    """One network of a profile.

    Attributes:
        network: its layers.
        profile: that it belongs to.
        title: network, runtime and machine, for people.
    """

    network: ProfiledNetwork
    profile: Profile
    title: str


def read_imports(
    paths: Iterable[Path],
) -> tuple[list[BoardResult], list[PlacedProfile]]:
    """Read results of boards, and profiles of ``edgesr bench --profile --json``, in any order.

    Raises:
        DataError: a file is missing, no JSON, or neither of the two.
    """
    boards: list[BoardResult] = []
    profiles: list[PlacedProfile] = []
    for path in paths:
        content = read_json(path, "the imported result", advice=ADVICE)
        if isinstance(content, dict) and "profiles" in content:
            profiles += _of_desktop(path, content)
        else:
            boards.append(parse_board(path, content))
    return boards, profiles


def shown_profiles(
    report: Report, boards: Sequence[BoardResult], profiles: Sequence[PlacedProfile]
) -> list[PlacedProfile]:
    """Every profile: the run's own first, then those of desktops, then of boards."""
    own = [PlacedProfile(report.environment.cpu, report.profile)] if report.profile else []
    named = zip(boards, board_names(boards), strict=True)
    return [*own, *profiles, *(one for board, name in named for one in _of_board(board, name))]


def profiled_networks(profiles: Sequence[PlacedProfile]) -> list[PlacedNetwork]:
    """Every network of some profiles, in their order."""
    return [
        PlacedNetwork(
            network,
            placed.profile,
            f"{network.name}, {placed.profile.runtime}, {placed.place}",
        )
        for placed in profiles
        for network in placed.profile.networks
    ]


def origin(layer: ProfiledLayer) -> str:
    """Modules that a layer comes from, else its ONNX nodes; empty for the runtime's own."""
    return ", ".join(layer.modules or layer.nodes or ())


def _of_desktop(path: Path, content: dict[str, Any]) -> list[PlacedProfile]:
    try:
        check_values(content["profiles"])
        machine = typed(content.get("environment"), Environment).cpu
        return [PlacedProfile(machine, one) for one in typed(content["profiles"], list[Profile])]
    except ReportError as error:
        raise DataError(f"{path} holds no profiles of edgesr bench: {error}; {ADVICE}") from error


def _of_board(board: BoardResult, name: str) -> list[PlacedProfile]:
    """The profiles of one board, all of one runtime, whose input may differ by model."""
    runtime = board.content["runtime"] or {}
    label = f"{runtime.get('name', '')} {runtime.get('version', '')}".strip()
    found = []
    for entry in board.content["models"]:
        profile = entry.get("profile")
        if profile is None or is_absent(profile):
            continue
        memory = profile["device_memory_mb"]
        network = {
            "name": entry["name"],
            "layers": profile["layers"],
            "whole_ms": profile["whole_ms"],
            **({"no_memory": memory["absent"]} if is_absent(memory) else {"memory_mb": memory}),
        }
        found.append(
            PlacedProfile(
                name,
                Profile(
                    runtime=label,
                    input_shape=profile["input_shape"],
                    threads=runtime.get("threads", 1),
                    runs=profile["runs"],
                    networks=[typed(network, ProfiledNetwork)],
                ),
            )
        )
    return found
