"""Judge a profile on this device."""

from __future__ import annotations

from typing import Any

import torch

from autogate.errors import DeviceError, ProfileError
from autogate.goals import SearchConfig, make_config
from autogate.latency.hardware import device_name, resolve_device
from autogate.latency.model import LatencyModel
from autogate.latency.profile import drift_networks, revalidate, slowdown_of
from autogate.latency.validation import measure_held_out, plan_held_out, validation_document
from autogate.models import load_model
from autogate.nas.profiles import at_step_of, may_be_stale, profile_called, searched_space, setting_here
from autogate.nas.proposing import paying_gates
from autogate.records import Profile, Setting
from autogate.sites import find_sites
from autogate.space import SpaceSpec
from autogate.studies import Reporter

_MIN_NETWORKS = 3
_CANARIES = 16


def validate_profile(
    profile: str,
    space: SpaceSpec,
    url: str,
    *,
    model: str | None,
    networks: int,
    seconds: float,
    seed: int,
    num_classes: int | None,
    allow_stale: bool,
    reporter: Reporter,
) -> dict[str, Any]:
    """Measure gated networks that the profile has not seen, and score its predictions.

    Args:
        profile: A file, the name of a recorded profile, the digest of a stored one, or a study for its own.
        space: Where the networks come from; gates that cannot pay are left out, as a search leaves them out.
        url: Database of the study or the stored profile.
        model: The network's name; None for the one the profile names.
        networks: How many networks to measure, dense among them.
        seconds: Time to spend on measuring.
        seed: Seed of the choice of networks.
        num_classes: Outputs of the classifier; None for the network's default.
        allow_stale: Whether the profile may be of other versions; some of its networks are then measured again.
        reporter: Receives progress.

    Raises:
        ProfileError: If there is no such profile, or it is another device's, or another network's.
    """
    if networks < _MIN_NETWORKS:
        raise ProfileError(f"{networks} networks are too few to validate with; ask for at least {_MIN_NETWORKS}")
    taken = profile_called(profile, url)
    setting = taken.setting
    name = model or taken.model
    config = make_config(
        model=name,
        space=at_step_of(space, taken).to_json(),
        pareto=True,
        device=setting.device,
        batch_size=setting.batch_size,
        dtype=setting.dtype,
        layout=setting.layout,
        threads=setting.threads,
        runtime=setting.runtime,
        allow_stale=allow_stale,
    )
    here = _setting_here(taken, config, profile)
    stale = not setting.agrees_with(here) and may_be_stale(taken, here, config, profile)
    network = find_sites(load_model(name, num_classes=num_classes).module, taken.input_shape)
    stale_error = 0.0
    if stale:
        with reporter.stage("measure again"):
            stale_error = revalidate(taken, network, progress=reporter.progress).error
    latency = LatencyModel(taken, network)
    left, _ = paying_gates(searched_space(config, network), latency)
    if not left.gates():
        raise ProfileError("no gate of this space pays on this device, so that there is nothing to validate")
    planned = plan_held_out(latency, left, networks, seed)
    # In turns with them, because a moment later the device may be as fast as another one.
    beside = drift_networks(latency, _CANARIES)
    with reporter.stage("measure held-out networks"):
        held_out = measure_held_out(
            network, planned, setting, seconds=seconds, references=beside, seed=seed, progress=reporter.progress
        )
    slowdown = slowdown_of(latency, beside, held_out.known_ms)
    now = LatencyModel(taken, network, slowdown=slowdown, stale_error=stale_error)
    return validation_document(now, held_out, seed, slowdown_of(latency, beside, held_out.known_again_ms))


def _setting_here(taken: Profile, config: SearchConfig, what: str) -> Setting:
    """Return the setting of this machine that compares with a profile's.

    Raises:
        ProfileError: If there is no device here that could be the profile's; names both.
    """
    setting = taken.setting
    try:
        return setting_here(taken, config, resolve_device(setting.device))
    except DeviceError:
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or ["no GPU"]
        raise ProfileError(
            f"{what} was profiled on {setting.device_name!r} ({setting.device}, {setting.threads} threads), and this "
            f"machine has {device_name(torch.device('cpu'))!r} and {', '.join(gpus)}; validate it there, or profile "
            "here with `autogate profile`"
        ) from None
