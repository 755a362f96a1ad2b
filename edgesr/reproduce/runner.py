"""Do trials, each once, with what they depend on before them."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

import torch
from torch import nn

from edgesr.cube import Scene
from edgesr.distill.trainer import TrainConfig, train
from edgesr.evaluation.cost import count
from edgesr.evaluation.evaluate import evaluate, evaluate_bicubic
from edgesr.history import MPSNR, SAM
from edgesr.loading.weights import load_network, save_network
from edgesr.loading.workload import scene_example
from edgesr.models import create_model
from edgesr.progress import log
from edgesr.reproduce.scenes import Scenes
from edgesr.reproduce.store import Store
from edgesr.reproduce.trial import BICUBIC, Surgery, Trial
from edgesr.surgery import Moments, Site, all_moments, find_sites, require_sites, spectrum
from edgesr.surgery.candidates import upsampler_pass

WINDOWS = 20_000
"""Windows of the upsampler's input that a closed form sees."""

RANK_TARGET = 0.9


class Runner:
    """Runs trials and keeps their results.

    Args:
        store: where results and weights go; what it holds is not done again.
        scenes: the cubes.
        device: of training and evaluation.
    """

    def __init__(self, store: Store, scenes: Scenes, device: str = "cpu") -> None:
        self.store, self.scenes, self.device = store, scenes, device
        self._moments: tuple[str, dict[str, Moments]] | None = None

    def run_all(self, trials: Sequence[Trial], keep_all: bool = True) -> None:
        """Do every trial that has no result yet; tell on stderr what is under way.

        Args:
            trials: in the order to do them; what they need is done before them.
            keep_all: keep the weights of every network; otherwise of those that others need.
        """
        ordered = _ordered(trials)
        needed = {other.key for trial in ordered for other in trial.needs()}
        todo = [trial for trial in ordered if self.store.get(trial) is None]
        done, started = len(ordered) - len(todo), time.perf_counter()
        for index, trial in enumerate(todo):
            self._run(trial, {trial.key} if keep_all else needed)
            result = self.store.get(trial) or {}
            elapsed = time.perf_counter() - started
            left = elapsed / (index + 1) * (len(todo) - index - 1)
            log(
                f"{done + index + 1}/{len(ordered)}  {trial.scene.cube} x{trial.scene.scale}"
                f" seed {trial.seed} {title(trial)}: {result['test']['mpsnr']:.3f} dB"
                f" {result['test']['sam']:.3f} deg, {result['seconds']:.0f} s;"
                f" about {left / 60:.0f} min left"
            )

    def _run(self, trial: Trial, kept: Collection[str]) -> None:
        started, processor = time.perf_counter(), time.process_time()
        scene = self.scenes.open(trial.scene)
        result: dict[str, Any]
        if trial.network == BICUBIC:
            convention: Any = trial.convention
            result = {"test": evaluate_bicubic(scene, convention=convention)}
        else:
            result = self._network(trial, scene, kept)
        result["test"] = _rounded(result["test"])
        result["seconds"] = round(time.perf_counter() - started, 1)
        result["cpu_seconds"] = round(time.process_time() - processor, 1)
        result["date"] = date.today().isoformat()
        self.store.add(trial, result)

    def _network(self, trial: Trial, scene: Scene, kept: Collection[str]) -> dict[str, Any]:
        model = self._start(trial, scene)
        example = scene_example(scene)
        sites = find_sites(model, example)
        result: dict[str, Any] = {}
        if spectral := _rank(model, sites):
            result["rank_before"] = spectral
        if trial.training:
            result |= self._train(trial, scene, model, sites)
            if spectral := _rank(model, sites):
                result["rank"] = spectral
        convention: Any = trial.convention
        result["test"] = evaluate(model.to(self.device), scene, convention=convention)
        model.cpu()
        cost = count(model)
        result |= {
            "params": cost.params,
            "macs": cost.macs,
            "upsampler_params": cost.upsampler_params,
        }
        if trial.key in kept:
            save_network(model, self.store.weights(trial), data=scene.describe())
        self.store.checkpoint(trial).unlink(missing_ok=True)
        return result

    def _train(
        self, trial: Trial, scene: Scene, model: nn.Module, sites: list[Site]
    ) -> dict[str, Any]:
        teacher = self.trained(trial.teacher) if trial.teacher else None
        config = TrainConfig(**trial.training, seed=trial.seed, device=self.device)
        outcome = train(
            model,
            [scene],
            config,
            teacher=teacher,
            sites=sites if teacher is not None else (),
            checkpoint=self.store.checkpoint(trial),
            resume=True,
            progress=False,
        )
        best = outcome.best
        validation = {"mpsnr": best[MPSNR], "sam": best[SAM]}
        return {
            "validation": _rounded(validation),
            "best_epoch": best["epoch"],
            "epochs": len(outcome.history),
        }

    def _start(self, trial: Trial, scene: Scene) -> nn.Module:
        """Return the network before training: random, another's, or what surgery made of it."""
        torch.manual_seed(trial.seed)
        if trial.source is None:
            config = {"bands": len(scene.bands), "scale": scene.scale, **trial.config}
            return create_model(trial.network, **config)
        model = self.trained(trial.source)
        if trial.surgery is None:
            return model
        return self._operate(model, trial.source, trial.surgery, scene)

    def _operate(
        self, model: nn.Module, source: Trial, surgery: Surgery, scene: Scene
    ) -> nn.Module:
        sites = require_sites(model, scene_example(scene))
        if self._moments is None or self._moments[0] != source.key:
            order = torch.randperm(
                len(scene.train), generator=torch.Generator().manual_seed(source.seed)
            )
            patches = (scene.pair(scene.train[index])[0] for index in order.tolist())
            self._moments = source.key, all_moments(model, sites, patches, WINDOWS)
        found = upsampler_pass(surgery.method)
        for site in sites:
            model, _ = found.apply(model, site, surgery.setting, self._moments[1][site.name])
        return model.eval()

    def trained(self, trial: Trial) -> nn.Module:
        """Return a network that another trial needs; train it anew where its weights are gone."""
        path = self.store.weights(trial)
        if not path.exists():
            self._run(trial, {trial.key})
        return load_network(path).model


def title(trial: Trial) -> str:
    """A few words that tell one trial from another."""
    config = " ".join(f"{name}={value}" for name, value in trial.config.items())
    surgery = f"{trial.surgery.method} {trial.surgery.setting}" if trial.surgery else ""
    how = "distilled" if trial.teacher else "trained" if trial.training else ""
    return " ".join(filter(None, (trial.network, config, surgery, how)))


def _ordered(trials: Sequence[Trial]) -> list[Trial]:
    """Each trial once, after those that it needs."""
    ordered: dict[str, Trial] = {}

    def visit(trial: Trial) -> None:
        if trial.key in ordered:
            return
        for other in trial.needs():
            visit(other)
        ordered[trial.key] = trial

    for trial in trials:
        visit(trial)
    return list(ordered.values())


def _rank(model: nn.Module, sites: Sequence[Site]) -> dict[str, int] | None:
    """Singular values that hold 90 % of the sum and of the energy, of a single dense upsampler."""
    if len(sites) != 1 or sites[0].groups != 1:
        return None
    found = spectrum(model, sites[0])
    ranks = {kind: found.rank(RANK_TARGET, kind) for kind in ("sum", "energy")}
    return {**ranks, "full": sites[0].max_rank}


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in figures.items()}
