"""Every parameter and FLOPs figure that the LKCA-Net and DACN papers print, against our networks.

Sources: "Rethinking the Upsampling Layer in Hyperspectral Image Super Resolution", Tables I, V, VI
and VII (counted there on a 16 x 16 LR input); arXiv 2506.05041 and the code published with it.
"""

from __future__ import annotations

import pytest

from edgesr.evaluation.cost import count
from edgesr.models import create_model

CHIKUSEI, HOUSTON, PAVIA = 128, 48, 102

# blocks: (params in millions, FLOPs in billions)
TABLE_1 = {
    4: ("2.810", "0.698"),
    8: ("3.109", "0.754"),
    16: ("3.707", "0.867"),
    32: ("4.904", "1.092"),
    48: ("6.100", "1.317"),
    64: ("7.297", "1.543"),
}
# table, bands, scale, method: (params in millions, FLOPs in billions)
TABLES_5_TO_7 = {
    ("V", CHIKUSEI, 4, "LKCA-Net"): ("3.707", "0.867"),
    ("V", CHIKUSEI, 4, "LKCA-LR"): ("1.643", "0.338"),
    ("V", CHIKUSEI, 4, "LKCA-KD"): ("1.643", "0.338"),
    ("V", CHIKUSEI, 8, "LKCA-Net"): ("10.798", "2.679"),
    ("V", CHIKUSEI, 8, "LKCA-LR"): ("2.540", "0.565"),
    ("V", CHIKUSEI, 8, "LKCA-KD"): ("2.540", "0.565"),
    ("VI", HOUSTON, 4, "LKCA-Net"): ("2.138", "0.466"),
    ("VI", HOUSTON, 4, "LKCA-LR"): ("1.364", "0.268"),
    ("VI", HOUSTON, 4, "LKCA-KD"): ("1.364", "0.268"),
    ("VI", HOUSTON, 8, "LKCA-Net"): ("4.797", "1.145"),
    ("VI", HOUSTON, 8, "LKCA-LR"): ("1.700", "0.353"),
    ("VI", HOUSTON, 8, "LKCA-KD"): ("1.700", "0.353"),
    ("VII", PAVIA, 4, "LKCA-Net"): ("3.197", "0.737"),
    ("VII", PAVIA, 4, "LKCA-LR"): ("1.552", "0.315"),
    ("VII", PAVIA, 4, "LKCA-KD"): ("1.552", "0.315"),
    ("VII", PAVIA, 8, "LKCA-Net"): ("8.847", "2.180"),
    ("VII", PAVIA, 8, "LKCA-LR"): ("2.267", "0.496"),
    ("VII", PAVIA, 8, "LKCA-KD"): ("2.267", "0.496"),
}
LIGHT_NETWORKS = {
    ("V", CHIKUSEI, 4, "vdsr"): ("1.917", "0.491"),
    ("V", CHIKUSEI, 4, "3dfcnn"): ("3.378", "0.864"),
    ("V", CHIKUSEI, 8, "vdsr"): ("5.456", "1.397"),
    ("V", CHIKUSEI, 8, "3dfcnn"): ("7.531", "1.926"),
    # The printed Houston x4 row has these two swapped.
    ("VI", HOUSTON, 4, "vdsr"): ("1.134", "0.290"),
    ("VI", HOUSTON, 4, "3dfcnn"): ("1.268", "0.324"),
    ("VI", HOUSTON, 8, "vdsr"): ("2.461", "0.630"),
    ("VI", HOUSTON, 8, "3dfcnn"): ("2.826", "0.723"),
    ("VII", PAVIA, 4, "vdsr"): ("1.662", "0.426"),
    ("VII", PAVIA, 4, "3dfcnn"): ("2.692", "0.689"),
    ("VII", PAVIA, 8, "vdsr"): ("4.482", "1.148"),
    ("VII", PAVIA, 8, "3dfcnn"): ("6.002", "1.535"),
}
# bands, scale, groups: (params, MACs), derived from the paper's rows
EXACT = {
    (128, 4, 1): (3_707_392, 866_942_976),
    (128, 4, 8): (1_643_008, 338_460_672),
    (128, 8, 1): (10_797_568, 2_678_882_304),
    (128, 8, 8): (2_540_032, 564_953_088),
    (48, 4, 1): (2_138_112, 465_862_656),
    (48, 4, 8): (1_363_968, 267_681_792),
    (48, 8, 1): (4_796_928, 1_145_339_904),
    (48, 8, 8): (1_700_352, 352_616_448),
    (102, 4, 1): (3_197_376, 736_591_872),
    (102, 4, 8): (1_552_320, 315_457_536),
    (102, 8, 1): (8_847_360, 2_180_481_024),
    (102, 8, 8): (2_267_136, 495_943_680),
}
EXACT_PARAMS_BY_BLOCKS = {
    4: 2_810_080,
    8: 3_109_184,
    16: 3_707_392,
    32: 4_903_808,
    48: 6_100_224,
    64: 7_296_640,
}
# scale: (params, of them trainable, GMACs of one group of 144 x 144 HR pixels)
DACN_TOTALS = {
    2: (2_571_760, 2_570_800, "27.5"),
    4: (4_595_952, 4_594_736, "16.3"),
    8: (4_662_608, 4_661_360, "4.4"),
}


def printed(params: int, macs: int) -> tuple[str, str]:
    return f"{params / 1e6:.3f}", f"{macs / 1e9:.3f}"


@pytest.mark.parametrize("blocks", TABLE_1)
def test_table_1(blocks: int) -> None:
    cost = count(create_model("lkca_net", bands=CHIKUSEI, blocks=blocks, paper_exact=True))
    assert printed(cost.params, cost.macs) == TABLE_1[blocks]
    assert cost.params == EXACT_PARAMS_BY_BLOCKS[blocks]


@pytest.mark.parametrize(("bands", "scale", "groups"), EXACT)
def test_tables_5_to_7(bands: int, scale: int, groups: int) -> None:
    """LKCA-LR and LKCA-KD are one structure, trained without and with a teacher."""
    network = create_model("lkca_net", bands=bands, scale=scale, groups=groups, paper_exact=True)
    cost = count(network)
    assert (cost.params, cost.macs) == EXACT[bands, scale, groups]
    rows = {
        key: figures
        for key, figures in TABLES_5_TO_7.items()
        if key[1:3] == (bands, scale) and (key[3] == "LKCA-Net") == (groups == 1)
    }
    assert len(rows) == (1 if groups == 1 else 2)
    for row, figures in rows.items():
        assert printed(cost.params, cost.macs) == figures, row


@pytest.mark.parametrize(("table", "bands", "scale", "name"), LIGHT_NETWORKS)
def test_light_networks(table: str, bands: int, scale: int, name: str) -> None:
    cost = count(create_model(name, bands=bands, scale=scale))
    assert printed(cost.params, cost.macs) == LIGHT_NETWORKS[table, bands, scale, name]


@pytest.mark.parametrize("scale", DACN_TOTALS)
def test_dacn_totals(scale: int) -> None:
    network = create_model("dacn", scale=scale)
    cost = count(network, (1, 32, 144 // scale, 144 // scale))
    assert (cost.params, cost.trainable, f"{cost.macs / 1e9:.1f}") == DACN_TOTALS[scale]
    tokens = (144 // scale) ** 2
    for width, block in zip((32, 64, 128), network.features, strict=True):
        attention = count(block.attention, (1, width, 144 // scale, 144 // scale))
        assert attention.macs == 4 * tokens * width**2 + 2 * tokens**2 * width


def test_dacn_by_layer() -> None:
    cost = count(create_model("dacn", scale=8), (1, 32, 4, 4))
    stored = {layer.name: layer.params for layer in cost.layers}
    by_width = {
        "conv": (9_248, 36_928, 147_584),
        "batch_norm": (128, 256, 512),
        "norm": (64, 128, 256),
        "gate.squeeze": (528, 2_080, 8_256),
        "gate.excite": (544, 2_112, 8_320),
        "skip": (1_056, 4_160, 16_512),
    }
    for layer, numbers in by_width.items():
        assert tuple(stored[f"features.{block}.{layer}"] for block in range(3)) == numbers
    attention = tuple(
        stored[f"features.{block}.attention.qkv"] + stored[f"features.{block}.attention.project"]
        for block in range(3)
    )
    assert attention == (4_224, 16_640, 66_048)
    for block, (conv, norm) in enumerate(((1_048_832, 1_024), (1_048_704, 512), (65_552, 64))):
        assert stored[f"upsampler.{block}.main"] == stored[f"upsampler.{block}.skip"] == conv
        assert stored[f"upsampler.{block}.batch_norm"] == norm
    assert stored["head"] == 9_248


@pytest.mark.parametrize(("scale", "head"), [(2, 147_488), (4, 73_760)])
def test_dacn_head(scale: int, head: int) -> None:
    assert sum(p.numel() for p in create_model("dacn", scale=scale).head.parameters()) == head
