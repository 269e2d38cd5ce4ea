"""A sampler of the package: no entry point is needed, its name is ``autogate_plugin_example.sampling:quasi_random``."""

from __future__ import annotations

import warnings

import optuna


def quasi_random(seed: int) -> optuna.samplers.BaseSampler:
    """Return a sampler that spreads candidates evenly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.samplers.QMCSampler(seed=seed, warn_independent_sampling=False)
