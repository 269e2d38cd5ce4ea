"""How long the dense network takes, in every setting it can run in, and the memory layout that it likes best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from autogate.latency.hardware import LAYOUTS
from autogate.latency.profile.instruments import REAL, Instruments
from autogate.latency.timing import WARM_UP_S, interleave, prepare, random_input
from autogate.policy import DENSE
from autogate.records import Setting
from autogate.runtimes import get_runtime
from autogate.sites import Network
from autogate.surgery import compact_form

_SECONDS_PER_LAYOUT = 1.5


def layouts_of(runtime: str) -> tuple[str, ...]:
    """Return the memory layouts in which a runtime takes inputs."""
    return tuple(get_runtime(runtime).layouts or LAYOUTS)


def dense_times_ms(
    network: Network,
    settings: Sequence[Setting],
    seconds: float,
    *,
    hard_limit_s: float = math.inf,
    instruments: Instruments = REAL,
) -> list[float]:
    """Return the median time of the dense network in each of several settings of one runtime, in milliseconds.

    Args:
        network: The network.
        settings: How to run it; all but the layout are alike.
        seconds: Time for the passes of all, or for a few of each if these take longer.
        hard_limit_s: Time that must not be exceeded, building included.
        instruments: What to measure with.

    Raises:
        DeviceError: If the network cannot run so.
        ProfileError: If it does not run once in ``hard_limit_s`` seconds.
    """
    last = instruments.clock() + hard_limit_s
    subjects = []
    for setting in settings:
        module = prepare(compact_form(network, DENSE, {}), setting)
        subjects.append(instruments.timed(module, random_input(network.input_shape, setting), setting))
    with instruments.exclusive(settings[0]):
        passes = interleave(
            subjects,
            seconds=seconds,
            hard_limit_s=last - instruments.clock(),
            warm_up_s=WARM_UP_S,
            min_rounds=7,
            clock=instruments.clock,
        )
    return [float(ms) for ms in np.median(passes.ms, axis=1)]


def fastest_layout(
    network: Network,
    setting_for: Callable[[str], Setting],
    *,
    hard_limit_s: float = math.inf,
    instruments: Instruments = REAL,
) -> str:
    """Return the memory layout in which the dense network runs fastest on the device.

    Dense gets the same help as gated: the layout it likes best is the one both are measured in. It is found in a few
    seconds, or in a few passes if these take longer, within ``hard_limit_s`` seconds.

    Raises:
        ProfileError: If the dense network does not run once in that time.
    """
    layouts = layouts_of(setting_for("contiguous").runtime)
    if len(layouts) == 1:
        return layouts[0]
    settings = [setting_for(layout) for layout in layouts]
    seconds = _SECONDS_PER_LAYOUT * len(layouts)
    times_ms = dense_times_ms(network, settings, seconds, hard_limit_s=hard_limit_s, instruments=instruments)
    return layouts[int(np.argmin(times_ms))]
