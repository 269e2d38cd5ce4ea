"""Estimate the time of unit forms that were never measured from what they execute.

What is regressed is log(measured / roofline): how far the device stays behind its limits. It is linear in the same of
what the gates alone leave of the time, multiplied, but for what a Gaussian process over the counts of a form carries
from the measured forms to similar ones.

It is not monotone by construction: nothing forbids the process to say that a form takes longer than one that keeps more
channels. Guaranteed is that the same samples give the same times, all of them positive; that a form that was measured
takes what was measured; and that a gate with a count at which it never ran alone is an error. Checked on recorded
profiles (``tests/latency/test_monotone.py``), and not guaranteed on other devices, is that of two forms of several
``magnitude`` gates that never ran together, the one that keeps more channels is not cheaper by more than 1 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.gaussian_process.kernels import RBF

from autogate.latency.model.operators import roofline
from autogate.records import DeviceCard, Operator, Setting

# Chosen on measured profiles: variance and length scale of deviations from the linear part, over standardised counts;
# weights of unit types and of the multiplied time among them; variance of one measurement.
_VARIANCE = 0.2
_LENGTH = 3.0
_TYPE_WEIGHT = 1.5
_TIME_WEIGHT = 0.7
_NOISE = 0.006
_STEPS = (8, 16)


@dataclass(frozen=True)
class Counts:
    """What a unit executes in one of its forms.

    Attributes:
        roofline_ms: Time at the device's limits, in milliseconds.
        macs: Multiply-accumulates.
        moved_bytes: Bytes read and written.
        glue_bytes: Those of operators that are no products.
        inputs: Input channels of the largest product, per group.
        outputs: Its output channels.
        operators: Number of operators.
        products: Number of convolutions and matrix products.
    """

    roofline_ms: float
    macs: float
    moved_bytes: float
    glue_bytes: float
    inputs: float
    outputs: float
    operators: float
    products: float

    @classmethod
    def of(cls, operators: Sequence[Operator], card: DeviceCard, setting: Setting) -> Counts:
        """Count what a form executes."""
        largest = max(operators, key=lambda one: one.macs, default=Operator("", 0, 0))
        return cls(
            roofline_ms=max(roofline(operators, card, setting).total_ms, 1e-3 * card.launch_us),
            macs=1.0 + sum(one.macs for one in operators),
            moved_bytes=1.0 + sum(one.moved_bytes for one in operators),
            glue_bytes=1.0 + sum(one.moved_bytes for one in operators if not one.macs),
            inputs=float(max(1, largest.inputs)),
            outputs=float(max(1, largest.outputs)),
            operators=float(len(operators)),
            products=float(sum(one.macs > 0 for one in operators)),
        )

    def changed_by(self, gated: Counts, dense: Counts) -> Counts:
        """Return the counts with what another gate alone makes of dense ones: sizes multiply, operators add up."""
        return Counts(
            self.roofline_ms * gated.roofline_ms / dense.roofline_ms,
            self.macs * gated.macs / dense.macs,
            self.moved_bytes * gated.moved_bytes / dense.moved_bytes,
            self.glue_bytes * gated.glue_bytes / dense.glue_bytes,
            self.inputs * gated.inputs / dense.inputs,
            self.outputs * gated.outputs / dense.outputs,
            self.operators + gated.operators - dense.operators,
            self.products + gated.products - dense.products,
        )

    def features(self) -> list[float]:
        """Return what the regression sees: logarithms of sizes, numbers, and where channels lie between full steps."""
        channels = [round(self.inputs), round(self.outputs)]
        logs = (
            self.roofline_ms,
            self.macs,
            self.moved_bytes,
            self.glue_bytes,
            self.inputs,
            self.outputs,
            self.macs / (self.inputs * self.outputs),
        )
        steps = [(count % step) / (step / 2) for step in _STEPS for count in channels]
        return [*(math.log(value) for value in logs), self.operators, self.products, *steps]


class FormRegression:
    """Regresses the times of unit forms.

    Args:
        types: Unit type of each form.
        counts: What each form executes.
        multiplied_ms: Time of the dense unit times the shares that the gates alone leave of it, in milliseconds.
        ms: Measured time of each form, in milliseconds, all above 0.
        networks: In how many networks each was measured.

    Attributes:
        left_out_ms: What it would say of each form had that one not been measured, in milliseconds.
    """

    def __init__(
        self,
        types: Sequence[str],
        counts: Sequence[Counts],
        multiplied_ms: Sequence[float],
        ms: Sequence[float],
        networks: Sequence[int],
    ) -> None:
        features = np.array([one.features() for one in counts])
        self._mean, self._scale = features.mean(axis=0), features.std(axis=0) + 1e-9
        self._types: Mapping[str, int] = {name: i for i, name in enumerate(dict.fromkeys(types))}
        self._rows = self._inputs(types, counts, multiplied_ms)
        rooflines = np.array([one.roofline_ms for one in counts])
        y = np.log(np.asarray(ms) / rooflines)
        noise = _NOISE / np.asarray(networks, dtype=np.float64)
        factor = cho_factor(_kernel(self._rows, self._rows) + np.diag(noise))
        self._weights = cho_solve(factor, y)
        precision = np.diag(cho_solve(factor, np.eye(len(y))))
        self.left_out_ms: np.ndarray = rooflines * np.exp(y - self._weights / precision)

    def predict_ms(self, types: Sequence[str], counts: Sequence[Counts], multiplied_ms: Sequence[float]) -> np.ndarray:
        """Return the estimated times in milliseconds, float64 ``[forms]``; arguments are as above."""
        rows = self._inputs(types, counts, multiplied_ms)
        rooflines = np.array([one.roofline_ms for one in counts])
        times: np.ndarray = rooflines * np.exp(_kernel(rows, self._rows) @ self._weights)
        return times

    def _inputs(self, types: Sequence[str], counts: Sequence[Counts], multiplied_ms: Sequence[float]) -> np.ndarray:
        """Return a row per form: log(multiplied / roofline), counts, and which unit it is."""
        linear = np.log(np.asarray(multiplied_ms) / np.array([one.roofline_ms for one in counts]))
        features = (np.array([one.features() for one in counts]) - self._mean) / self._scale
        one_hot = np.zeros((len(types), len(self._types)))
        one_hot[np.arange(len(types)), [self._types[name] for name in types]] = _TYPE_WEIGHT
        return np.hstack([linear[:, None], features, one_hot])


def _kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    linear = one[:, :1] @ other[:, :1].T
    scale = np.ones(one.shape[1])
    scale[0] = _TIME_WEIGHT
    similar: np.ndarray = 1.0 + linear + _VARIANCE * RBF(_LENGTH)(scale * one, scale * other)
    return similar
