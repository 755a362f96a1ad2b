"""One loop for training a network and for distilling it from a teacher."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from edgesr.distill import checkpoint as checkpoints
from edgesr.distill.average import WeightAverage
from edgesr.distill.config import TrainConfig
from edgesr.distill.features import SiteFeatures
from edgesr.distill.fused import hh_loss
from edgesr.distill.losses import dacn_loss
from edgesr.distill.methods._base import Outputs
from edgesr.distill.order import quick_order
from edgesr.distill.parallel import Workers, workers
from edgesr.distill.precision import autocast, choose
from edgesr.distill.progress import Report, reporting
from edgesr.distill.quick import QuickCalls
from edgesr.distill.registry import DISTILLATIONS
from edgesr.distill.sampling import Patch, PatchSampler
from edgesr.distill.schedule import decay, learning_rate
from edgesr.distill.state import restore, tensors_of
from edgesr.distill.validation import Validation
from edgesr.errors import ModelError, OptionError
from edgesr.evaluation.evaluate import inference
from edgesr.evaluation.tiling import require_memory_for_step
from edgesr.history import MPSNR, SAM, todays_names
from edgesr.loading.factory import factory_of

if TYPE_CHECKING:
    from edgesr.cube.scene import Scene
    from edgesr.surgery.sites import Site

__all__ = ["TrainConfig", "TrainResult", "train"]


@dataclass(frozen=True)
class TrainResult:
    """A trained network and how it came about.

    Attributes:
        model: the network that was given, now with the weights that did best on tuning blocks.
        history: one entry an epoch: epoch (from 1), train_loss, tuning_mpsnr (dB), tuning_sam
            (degrees), weights ("own" or "average": which the two figures belong to), lr, seconds.
        best: epoch (0 for the initial weights), tuning_mpsnr, tuning_sam and weights of what was
            kept.
    """

    model: nn.Module
    history: list[dict[str, Any]]
    best: dict[str, Any]


def train(
    model: nn.Module,
    scenes: Sequence[Scene],
    config: TrainConfig,
    *,
    teacher: nn.Module | None = None,
    sites: Sequence[Site] = (),
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: bool = True,
    before_validation: Callable[[], object] | None = None,
    keep: Mapping[str, Any] | None = None,
) -> TrainResult:
    """Train ``model`` in place on the training windows of ``scenes``.

    The weights that reach the best MPSNR on the tuning windows of ``scenes[0]`` are kept; the
    initial ones count, so training never makes that worse. With a ``teacher``, the loss is
    ``D * alpha * KD + HH`` (LKCA-Net): KD compares what the layers of ``sites`` put out in both
    networks, and fades by :func:`edgesr.distill.schedule.decay`. ``config.distil`` names others.

    Under ``torchrun`` every process trains on its share of each batch; the result is that of one
    process with the same batch within rounding. (Batch normalisation is the exception: its
    statistics are those of a share.)

    Args:
        model: network from [N, B, h, w] to [N, B, H, W]; a :class:`edgesr.models.dacn.BandGroups`
            trains its core on the single groups of bands.
        scenes: the first is the target; the others are mixed in until the last epochs.
        config: the options.
        teacher: frozen network for the same bands and scale.
        sites: the upsampling layers to compare, by module path in both networks.
        checkpoint: file that is replaced after every epoch.
        resume: continue from ``checkpoint`` if it exists, on CPU to the same bits.
        progress: report on stderr.
        before_validation: called whenever weights that are about to be validated are in place.
        keep: ``best`` of an earlier training that was the same: train as far as its epoch, take
            those weights, and judge nothing again.

    Raises:
        DataError: the scenes differ in bands, scale or patch size, or lack windows.
        OptionError: options contradict each other, the machine or the checkpoint.
        DivergedError: the loss is no longer finite; then no checkpoint is left, since the same
            training would only diverge again, and with another learning rate it is another one.
        ModelError: the networks do not fit the scenes or sites.
    """
    if teacher is not None and not sites:
        raise OptionError("distillation needs the upsampling sites to compare, received none")
    with workers(config.device) as group:
        cuda = [group.device] if group.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            trainer = _Trainer(model, scenes, config, teacher, sites, group, before_validation)
            trainer.kept = keep and todays_names(keep)
            try:
                return trainer.run(checkpoint, resume, progress and group.first)
            except DivergedError:
                if checkpoint is not None and group.first:
                    checkpoint.unlink(missing_ok=True)
                raise
            finally:
                trainer.close()


class DivergedError(ModelError):
    """The loss is no longer finite."""


class _Trainer:
    """The loop with everything that it carries from step to step."""

    def __init__(
        self,
        model: nn.Module,
        scenes: Sequence[Scene],
        config: TrainConfig,
        teacher: nn.Module | None,
        sites: Sequence[Site],
        group: Workers,
        before_validation: Callable[[], object] | None,
    ) -> None:
        self.config, self.group = config, group
        self.device = group.device
        self.scenes = scenes
        self.share = group.share(config.batch)
        self.sampler = PatchSampler(scenes, self.device, jitter=config.jitter)
        self.validation = Validation(scenes[0], self.device, config.batch, before_validation)
        self.steps = config.steps_per_epoch or math.ceil(self.sampler.windows / config.batch)

        self.order = quick_order(model)
        self.model = model.to(self.device, memory_format=self.order)  # type: ignore[call-overload]
        self.core = _core(model)
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        if not self.weights:
            raise ModelError("the model has no weights to train")
        self.forward: nn.Module = self.core
        if group.count > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            self.forward = DistributedDataParallel(self.core, device_ids=ids, static_graph=True)
        self.optimizer = torch.optim.Adam(
            self.weights, lr=config.learning_rate, fused=_fuses(self.weights)
        )
        self.average = WeightAverage(model, config.ema) if config.ema else None
        self.teacher = teacher
        self.distillation = DISTILLATIONS[config.distil]
        networks = [self.core]
        if teacher is not None:
            order = quick_order(teacher)
            teacher.to(self.device, memory_format=order)  # type: ignore[call-overload]
            networks.append(_core(teacher))
        if config.amp == "fp16" and self.device.type != "cuda":
            raise OptionError("amp fp16 needs a CUDA device; use bf16 or off on the CPU")
        self.amp = choose(config.amp, self.device, networks, self._example)
        with self._autocast():  # before anything of a batch is there
            require_memory_for_step(self.core, self._example(), self.share.stop - self.share.start)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp == "fp16")
        self.listeners: tuple[SiteFeatures, ...] = ()
        if teacher is not None and self.distillation.features:
            self.listeners = (SiteFeatures(model, sites), SiteFeatures(teacher, sites))

        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}
        self.best_weights: dict[str, Tensor] = {}
        self.kept: Mapping[str, Any] | None = None

    def close(self) -> None:
        """Leave both networks as they came, but for the weights."""
        self.optimizer.zero_grad(set_to_none=True)
        for listener in self.listeners:
            listener.close()
        for network in (self.model, self.teacher):
            if network is not None:
                network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def run(self, path: Path | None, resume: bool, shown: bool) -> TrainResult:
        """Train to the end, or to the end of patience."""
        run, last = self._description(), self.config.epochs
        if self.kept is not None:
            self.best, last = dict(self.kept), int(self.kept["epoch"])
        if path is not None and resume and path.exists():
            self._restore(checkpoints.load(path, run))
        else:
            self._consider(0)
        with reporting(shown, last, self.epoch, self.best) as report:
            while self.epoch < last and not self._exhausted():
                self._epoch(report)
                if path is not None and self.group.first:
                    checkpoints.save(path, run, self._state())
        restore(self.model, self.best_weights)
        return TrainResult(self.model.eval(), self.history, self.best)

    def _exhausted(self) -> bool:
        patience = None if self.kept else self.config.patience
        return patience is not None and self.epoch - self.best["epoch"] >= patience

    def _epoch(self, report: Report) -> None:
        started = time.perf_counter()
        config, epoch = self.config, self.epoch
        torch.manual_seed(_seed(config.seed, epoch, self.group.rank))
        focused = epoch >= (1 - config.focus) * config.epochs
        plan = self.sampler.plan(
            config.seed, epoch, self.steps, config.batch, others=0.0 if focused else config.mix
        )
        self.model.train()
        total = torch.zeros((), device=self.device)
        rate = config.learning_rate
        for step, patches in enumerate(plan):
            rate = learning_rate(
                epoch * self.steps + step,
                config.epochs * self.steps,
                initial=config.learning_rate,
                final=config.final_learning_rate,
                warmup=config.warmup_steps,
            )
            total += self._step(patches[self.share], rate)
            report.step(step + 1, self.steps)
        loss = self.group.mean(float(total) / self.steps)
        if not math.isfinite(loss):
            raise DivergedError(
                f"training diverged in epoch {epoch + 1}: the loss is {loss}; "
                f"use a learning rate below {config.learning_rate:g} or a warm-up"
            )
        self.epoch += 1
        figures = self._consider(self.epoch)
        seconds = time.perf_counter() - started
        entry = {"epoch": self.epoch, "train_loss": loss, **figures, "lr": rate, "seconds": seconds}
        self.history.append(entry)
        report.epoch(entry, self.best)

    def _step(self, patches: Sequence[Patch], rate: float) -> Tensor:
        with QuickCalls():
            lr, hr = self.sampler.load(patches)
        if self.core is not self.model:
            lr, hr = self.model.split(lr), self.model.split(hr)
        if self.teacher is not None:
            lr = self.distillation.inputs(lr, hr)
        if self.order is torch.contiguous_format:
            lr = lr.contiguous()
        with self._autocast(), QuickCalls():
            sr = self.forward(lr).float()
            if self.teacher is not None:
                with inference(self.teacher):
                    target = _core(self.teacher)(lr).float()
        loss = self._loss(sr, hr) if self.teacher is None else self._distilled(sr, target, hr)
        for settings in self.optimizer.param_groups:
            settings["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if self.config.clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.weights, self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.model)
        return loss.detach()

    def _autocast(self) -> AbstractContextManager[Any]:
        return autocast(self.amp, self.device)

    def _example(self) -> Tensor:
        """The LR image of one patch, as the core of the network takes it."""
        (patches,) = self.sampler.plan(self.config.seed, 0, 1, 1, others=0.0)
        lr, _ = self.sampler.load(patches)
        lr = lr if self.core is self.model else self.model.split(lr)
        return lr.contiguous() if self.order is torch.contiguous_format else lr

    def _loss(self, sr: Tensor, hr: Tensor) -> Tensor:
        config = self.config
        if config.loss == "hh":
            loss = hh_loss(sr, hr)
        elif config.loss == "mse":
            loss = F.mse_loss(sr, hr)
        else:  # its differences along pixels are quicker on planes than on channels-last images
            sr, hr = sr.contiguous(), hr.contiguous()
            loss = dacn_loss(
                sr, hr, self.weights, "paper" if config.loss == "dacn" else "published"
            )
        return loss

    def _distilled(self, sr: Tensor, target: Tensor, hr: Tensor) -> Tensor:
        config = self.config
        student, teacher = [listener.collect() for listener in self.listeners] or ([], [])
        if [f.shape for f in student] != [f.shape for f in teacher]:
            raise ModelError(
                f"cannot distil: the student's upsampler puts out {list(student[0].shape)}, "
                f"the teacher's {list(teacher[0].shape)}; give a teacher for the same bands"
            )
        made = Outputs(
            student=sr,
            teacher=target,
            student_features=student,
            teacher_features=teacher,
            weight=config.alpha * decay(self.epoch, config.decay, config.decay_every),
            terms={"cos": config.kd_cos, "sam": config.kd_sam, "grad": config.kd_grad},
            truth=lambda: self._loss(sr, hr),
        )
        return self.distillation.loss(made)

    def _consider(self, epoch: int) -> dict[str, Any]:
        """Measure the weights and their average; keep the better one if it is the best so far."""
        if self.kept is not None:
            if epoch == self.kept["epoch"]:
                self._keep(dict(self.kept))
            return {name: self.kept[name] for name in (MPSNR, SAM, "weights")}
        own, averaged = [0.0, 0.0], [-math.inf, 0.0]
        if self.group.first:
            own = self.validation.measure(self.model, self._autocast)
            if self.average is not None and epoch:
                with self.average.applied(self.model):
                    averaged = self.validation.measure(self.model, self._autocast)
        own, averaged = self.group.from_first(own), self.group.from_first(averaged)
        use_average = averaged[0] > own[0]
        figures: dict[str, Any] = dict(
            zip((MPSNR, SAM), averaged if use_average else own, strict=True)
        )
        figures["weights"] = "average" if use_average else "own"
        if not self.best or figures[MPSNR] > self.best[MPSNR]:
            self._keep({"epoch": epoch, **figures})
        return figures

    def _keep(self, best: dict[str, Any]) -> None:
        """Take the weights, or their average, as the best so far."""
        self.best = best
        state = tensors_of(self.model)
        if best["weights"] == "average" and self.average is not None:
            state = self.average.shadow
        self.best_weights = {name: value.cpu().clone() for name, value in state.items()}

    def _description(self) -> dict[str, Any]:
        """What must be the same when a training is continued."""
        options = {k: v for k, v in asdict(self.config).items() if k != "device"}
        return {
            **options,
            "amp": self.amp,
            "steps": self.steps,
            "data": [checkpoints.fingerprint(scene) for scene in self.scenes],
            "layers": checkpoints.digest(
                str(tuple(v.shape)).encode() for v in tensors_of(self.model).values()
            ),
            "teacher": self.teacher  # without its buffers: some count how often they were used
            and checkpoints.digest(
                value.detach().cpu().contiguous().numpy().tobytes()
                for value in self.teacher.parameters()
            ),
        }

    def _state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "model": tensors_of(self.model),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "history": self.history,
            "best": self.best,
            "best_weights": self.best_weights,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]
        restore(self.model, state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.history = [todays_names(entry) for entry in state["history"]]
        self.best = todays_names(state["best"])
        self.best_weights = state["best_weights"]


def _core(model: nn.Module) -> nn.Module:
    """The network that runs on one group of bands, where the model splits its bands."""
    if factory_of(model) is not None:  # a third-party ``core`` and ``split`` may mean anything
        return model
    core = getattr(model, "core", None)
    return core if isinstance(core, nn.Module) and hasattr(model, "split") else model


def _fuses(weights: Sequence[Tensor]) -> bool:
    """Whether one loop of Adam can go over all weights; else torch goes over them step by step."""
    return all(w.is_floating_point() and w.device.type in ("cpu", "cuda") for w in weights)


def _seed(seed: int, epoch: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])
