from __future__ import annotations

from edgesr.compress.search.design import Design
from edgesr.compress.search.trial import Trial


def trial(number: int, macs: int, loss: float | None, latency: float | None = 10.0) -> Trial:
    drop = None if loss is None else {"psnr_drop": loss, "sam_drop": loss}
    return Trial(
        number,
        Design(0, number, 0),
        f"design {number}",
        [],
        params=macs // 100,
        upsampler_params=1,
        macs=macs,
        start={"psnr_drop": 1.0, "sam_drop": 1.0},
        latency_ms=latency,
        finetuned=drop,
    )
