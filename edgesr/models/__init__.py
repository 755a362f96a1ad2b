"""Networks, by name: :func:`create_model`, :func:`available`, :func:`register`."""

from edgesr.models._registry import available, create_model, is_own, register
from edgesr.models.dacn import DACN, BandGroups
from edgesr.models.fcnn3d import FCNN3D
from edgesr.models.lkca_net import LKCANet
from edgesr.models.vdsr import VDSR

__all__ = [
    "DACN",
    "FCNN3D",
    "VDSR",
    "BandGroups",
    "LKCANet",
    "available",
    "create_model",
    "is_own",
    "register",
]
