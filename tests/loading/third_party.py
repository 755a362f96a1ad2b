"""Factories of networks that this project did not write, for ``--model third_party:NAME``."""

from __future__ import annotations

from collections.abc import Callable

import third_party_attention as attention
import third_party_conv as conv
import third_party_own as own
import torch.nn.functional as F
from third_party_conv import BANDS as BANDS
from third_party_conv import wdsr, wdsr_parametrized
from torch import Tensor, nn

edsr = conv.EDSR
rcan = conv.RCAN
fsrcnn = conv.FSRCNN
lapsrn = conv.LapSRN
resize_conv = conv.ResizeConv
conv3d = conv.Conv3dNet
deconv3d = conv.Deconv3d
functional = own.Functional
hand_shuffle = own.HandShuffle
custom_conv = own.CustomConv
data_dependent = own.DataDependent
dict_output = own.DictOutput
scale_argument = own.ScaleArgument
unet = own.UNet
fourier = own.FourierNet
stateful = own.Stateful
essaformer = attention.ESSAformer
sspsr = attention.SSPSR
msdformer = attention.MSDformer


def swinir() -> nn.Module:
    return attention.SwinIR("pixelshuffledirect", pads=True)


def swinir_unpadded() -> nn.Module:
    return attention.SwinIR("nearest+conv", pads=False)


THIRD_PARTY: dict[str, Callable[[], nn.Module]] = {
    "edsr": edsr,
    "rcan": rcan,
    "wdsr": wdsr,
    "wdsr_parametrized": wdsr_parametrized,
    "fsrcnn": fsrcnn,
    "lapsrn": lapsrn,
    "resize_conv": resize_conv,
    "conv3d": conv3d,
    "deconv3d": deconv3d,
    "functional": functional,
    "hand_shuffle": hand_shuffle,
    "custom_conv": custom_conv,
    "data_dependent": data_dependent,
    "dict_output": dict_output,
    "scale_argument": scale_argument,
    "unet": unet,
    "fourier": fourier,
    "stateful": stateful,
    "swinir": swinir,
    "swinir_unpadded": swinir_unpadded,
    "essaformer": essaformer,
    "sspsr": sspsr,
    "msdformer": msdformer,
}

_X4 = {
    "edsr",
    "wdsr",
    "wdsr_parametrized",
    "lapsrn",
    "resize_conv",
    "deconv3d",
    "functional",
    "scale_argument",
    "swinir_unpadded",
    "sspsr",
}
SCALE = {name: 4 if name in _X4 else 2 for name in THIRD_PARTY}

MULTIPLE = {"unet": 8, "swinir_unpadded": 4}
"""To what height and width must be brought for the networks that do not do it themselves."""


def enlarged(x: Tensor, scale: int) -> Tensor:
    return F.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False)


def as_author(name: str, model: nn.Module, x: Tensor) -> Tensor:
    """The image that the network's own author gets of ``x`` [N, B, h, w], calling it by hand."""
    h, w = x.shape[-2:]
    scale, multiple = SCALE[name], MULTIPLE.get(name, 1)
    x = F.pad(x, (0, -w % multiple, 0, -h % multiple), mode="replicate")
    if name in ("sspsr", "msdformer"):
        y = model(x, enlarged(x, scale))
    elif name == "scale_argument":
        y = model(x, scale)
    elif name == "conv3d":
        y = model(x[:, None])[:, 0]
    else:
        y = model(x)
    if name == "lapsrn":
        y = y[-1]
    elif name == "msdformer":
        y = y[0]
    elif name == "dict_output":
        y = y["sr"]
    return y[..., : h * scale, : w * scale]
