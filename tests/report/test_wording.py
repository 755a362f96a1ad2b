from __future__ import annotations

import pytest

from edgesr.report import parse, summary, wording


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (wording.milliseconds(0.12345), "0.123"),
        (wording.milliseconds(4.567), "4.57"),
        (wording.milliseconds(45.67), "45.7"),
        (wording.milliseconds(1234.5), "1,234"),
        (wording.signed(-0.0351), "−0.035"),
        (wording.signed(-0.0001), "+0.000"),
        (wording.fixed(None), "–"),
        (wording.fixed(True), "–"),
        (wording.fixed(-1.25, 1), "−1.2"),
        (wording.speed(210, 23.1), "9.1 times faster"),
        (wording.speed(20, 30), "1.50 times slower"),
        (wording.speed(20, 0), "–"),
        (wording.reduction(2_785_648, 30_960), "90 times smaller"),
        (wording.reduction(4.15, 1.395), "66 % less"),
        (wording.reduction(10, 11), "10 % more"),
        (wording.size(386), "386 B"),
        (wording.size(5_613_736), "5.6 MB"),
        (wording.duration(1.034), "1.0 s"),
        (wording.duration(99.4), "99 s"),
        (wording.duration(758), "12 min 38 s"),
        (wording.duration(7500), "2 h 05 min"),
        (wording.plural(1, "layer"), "1 layer"),
        (wording.plural(1234, "layer"), "1,234 layers"),
        (wording.by([1, 36, 32, 32]), "1 × 36 × 32 × 32"),
        (wording.day("2031-02-03T04:05:06+00:00"), "3 February 2031, 04:05"),
        (wording.day("yesterday"), "yesterday"),
    ],
)
def test_words(said, text):
    assert said == text


def test_the_headline_says_what_happened(report):
    # 664128 / 50280 = 13.2; 41.3 / 29.9 = 1.38; 31.401 - 31.412 = -0.011
    assert summary.headline(parse(report)) == (
        "The upsampler is 13.2 times smaller;"
        " the network runs 1.38 times faster and loses 0.011 dB."
    )
    report["student"]["metrics"]["mpsnr"] = 31.512
    report["student"]["latency_ms"]["median"] = 82.6
    assert summary.headline(parse(report)).endswith("runs 2.00 times slower and gains 0.100 dB.")


def test_key_figures_stand_beside_the_earlier_ones(report):
    upsampler, network, macs, latency, psnr, angle = summary.key_figures(parse(report))
    assert (upsampler.after, upsampler.before) == ("50.28 k", "664.1 k")
    assert upsampler.remains == pytest.approx(50_280 / 664_128)
    assert (network.change, network.good) == ("32 % less", True)
    assert macs.change == "39 % less"
    assert (latency.after, latency.before, latency.change) == ("29.9", "41.3", "1.38 times faster")
    assert (psnr.change, psnr.remains) == ("−0.011 dB", None)
    assert angle.change == "+0.000°"


def test_what_is_kept_of_the_lead_over_bicubic(report):
    assert summary.retained(parse(report)) == pytest.approx((31.401 - 30.105) / (31.412 - 30.105))
    report["bicubic"]["metrics"]["mpsnr"] = 31.412
    assert summary.retained(parse(report)) is None


def test_the_fastest_model_is_held_against_the_plain_export(report):
    assert summary.best_deployed(parse(report)) is None
    report["teacher"]["naive_latency_ms"] = report["teacher"]["latency_ms"] | {"median": 95.0}
    name, ratio, psnr = summary.best_deployed(parse(report))
    assert (name, psnr) == ("int8, bf16, OpenVINO CPU", 31.412)
    assert ratio == pytest.approx(10)


def test_what_deserves_a_warning(report):
    assert list(summary.warnings(parse(report))) == []
    report["recipe"]["max_psnr_drop"] = 0.01
    report["bicubic"]["metrics"]["mpsnr"] = 31.5
    report["student"]["latency_ms"]["median"] = 50.0
    worse, over, slower = summary.warnings(parse(report))
    assert "0.088 dB below bicubic" in worse
    assert "loses 0.011 dB, more than the 0.01 dB" in over
    assert "slower" in slower
