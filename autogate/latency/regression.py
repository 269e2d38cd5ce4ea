"""Estimate the time of unit forms that were never measured from what they execute.

What is regressed is log(measured / roofline) over the counts of a form: how far the device stays behind its limits.
Forms of equal counts in units of one type are alike; a Gaussian process carries what the measured ones say to those
between and beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.gaussian_process.kernels import RBF

from autogate.latency.roofline import roofline
from autogate.records import DeviceCard, Operator, Setting

# Chosen on measured profiles: typical deviation from the roofline, length scale of standardised counts, how far apart
# unit types are, and the variance of one measurement.
_VARIANCE = 0.3
_LENGTH = 3.0
_TYPE_DISTANCE = 1.5
_NOISE = 0.01
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
            self.roofline_ms, self.macs, self.moved_bytes, self.glue_bytes, self.inputs, self.outputs,
            self.macs / (self.inputs * self.outputs),
        )  # fmt: skip
        steps = [(count % step) / (step / 2) for step in _STEPS for count in channels]
        return [*(math.log(value) for value in logs), self.operators, self.products, *steps]


class FormRegression:
    """Regresses the times of unit forms.

    Args:
        types: Unit type of each form.
        counts: What each form executes.
        ms: Measured time of each form, in milliseconds, all above 0.
        networks: In how many networks each was measured.
    """

    def __init__(
        self, types: Sequence[str], counts: Sequence[Counts], ms: Sequence[float], networks: Sequence[int]
    ) -> None:
        features = np.array([one.features() for one in counts])
        self._mean, self._scale = features.mean(axis=0), features.std(axis=0) + 1e-9
        self._types: Mapping[str, int] = {name: i for i, name in enumerate(dict.fromkeys(types))}
        self._rows = self._standardised(types, features)
        y = np.log(np.asarray(ms) / np.array([one.roofline_ms for one in counts]))
        self._level = float(y.mean())
        noise = _NOISE / np.asarray(networks, dtype=np.float64)
        factor = cho_factor(self._kernel(self._rows) + np.diag(noise))
        self._weights = cho_solve(factor, y - self._level)
        precision = np.diag(cho_solve(factor, np.eye(len(y))))
        rooflines = np.array([one.roofline_ms for one in counts])
        self.left_out_ms: np.ndarray = rooflines * np.exp(y - self._weights / precision)

    def predict_ms(self, types: Sequence[str], counts: Sequence[Counts]) -> np.ndarray:
        """Return the estimated times in milliseconds, float64 ``[forms]``."""
        rows = self._standardised(types, np.array([one.features() for one in counts]))
        residual = self._level + self._kernel(rows) @ self._weights
        times: np.ndarray = np.array([one.roofline_ms for one in counts]) * np.exp(residual)
        return times

    def _kernel(self, rows: np.ndarray) -> np.ndarray:
        similar: np.ndarray = _VARIANCE * RBF(_LENGTH)(rows, self._rows)
        return similar

    def _standardised(self, types: Sequence[str], features: np.ndarray) -> np.ndarray:
        one_hot = np.zeros((len(types), len(self._types)))
        for row, name in enumerate(types):
            one_hot[row, self._types[name]] = _TYPE_DISTANCE
        return np.hstack([(features - self._mean) / self._scale, one_hot])
