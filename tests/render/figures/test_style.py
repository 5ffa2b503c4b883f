"""Colours that can be told apart, by the formulas of the literature; labels and numbers."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from rnneval.render.figures._style import DARK, LIGHT, in_legend, label, percent, plain
from rnneval.render.phrasing import number

# Machado and others: A Physiologically-based Model for Simulation of Color Vision Deficiency. 2009; severity 1.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color):
    rgb = np.array(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(light):
    xyz = TO_XYZ @ np.clip(light, 0, 1) / (0.9505, 1, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(deficiency, a, b):
    """CIE76 difference of two colours as they are seen; 2.3 is just noticeable."""
    matrix = np.array(DEFICIENCIES[deficiency])
    return float(np.linalg.norm(lab(matrix @ linear(a)) - lab(matrix @ linear(b))))


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("look", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_are_told_apart(look, deficiency):
    assert min(distance(deficiency, a, b) for a, b in itertools.combinations(look.palette, 2)) > 10
    assert distance(deficiency, look.good, look.bad) > 40


def test_names_and_numbers():
    assert label("x" * 30) == "x" * 12 + "…" + "x" * 11
    assert label("a\nb") == "a\\nb"
    assert in_legend("_a$") == r" _a\$"
    assert plain("a\x07b\nc$") == "a\\x07b\nc\\$"
    assert [number(v) for v in (0, 0.1, 9.999, 99.95, 1234.5, 1e8, -3.0, 12)] == [
        "0", "0.100", "10.00", "100.0", "1,234", "1e+08", "−3.00", "12.0",
    ]  # fmt: skip
    assert [percent(v) for v in (0, 0.0009, 0.005, 0.5, 1)] == ["0 %", "< 0.1 %", "0.5 %", "50 %", "100 %"]
