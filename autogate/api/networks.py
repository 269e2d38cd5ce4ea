"""What networks and search spaces offer to gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from autogate.api.signatures import with_settings
from autogate.errors import ModelError
from autogate.goals import SearchConfig, SensitivitySettings, check_names, make_config, taken_by
from autogate.space import SpaceSpec, list_spaces, load_space
from autogate.studies import Reporter

if TYPE_CHECKING:
    from torch import nn

    from autogate.nas.evaluating import OwnData


def sites(
    model: str = "resnet20", *, input_size: int | None = None, num_classes: int | None = None
) -> list[dict[str, Any]]:
    """Return the sites of a network with shapes and MACs, and the families that fit each.

    Channels that look like a site but cannot be cut come last, with the reason; for sites it is empty.

    Raises:
        ModelError: If the network is unknown, cannot be traced, or has no site.
    """
    from autogate.gates import FAMILIES
    from autogate.models import default_input_size, load_model
    from autogate.records import Site
    from autogate.sites import find_sites

    if input_size is not None and input_size < 1:
        raise ModelError(f"input size {input_size} must be at least 1")
    size = input_size or default_input_size(model)
    network = find_sites(load_model(model, num_classes=num_classes).module, (3, size, size))

    def row(site: Site, reason: str) -> dict[str, Any]:
        families = [] if reason else [name for name, family in FAMILIES.items() if family.fits(site)]
        return {**asdict(site), "families": families, "reason": reason}

    refused = [row(Site(f"group:{at}", "group", "", (0, 0, 0), 0, ()), why) for at, why in network.refused.items()]
    return [*(row(site, "") for site in network.sites.values()), *refused]


def spaces() -> dict[str, SpaceSpec]:
    """Return the search spaces that ship with AutoGate, by name."""
    return list_spaces()


@with_settings("sensitivity")
def sensitivity(
    model: str | nn.Module = "resnet20",
    data: str | Path | OwnData = "digits",
    *,
    family: str,
    tie: Literal["site", "stage"] = "site",
    values: Sequence[float] | None = None,
    images: int = 512,
    plot: str | Path | None = None,
    reporter: Reporter | None = None,
    **settings: Unpack[SensitivitySettings],
) -> dict[str, Any]:
    """Return how much accuracy gates at a single site or stage cost, by pruning ratio; trains no gate.

    Args:
        model: Network: a name, or a trained module of your own; one by name without weights is trained first.
        data: Dataset, as in :func:`search`.
        family: A family without weights of its own.
        tie: Whether each site is judged on its own, or all sites of a stage together.
        values: Shares to leave out, each in [0, 1); None for a fixed few.
        images: Validation images to judge on.
        plot: HTML file to draw the curves into.
        reporter: Receives progress.
        **settings: Weights, data, device and seed, as in :func:`search`.
    """
    from autogate.analysis import sensitivity_document
    from autogate.nas.evaluating import CallerInputs, config_names
    from autogate.report import check_plot_path

    check_plot_path(plot)
    check_names(settings, taken_by(SearchConfig, "sensitivity"))
    config = make_config(
        **{**config_names(model, data), **settings}, space=load_space("unified").to_json(), pareto=True
    )
    own = CallerInputs.among(model, data)
    document = sensitivity_document(config, own, family, tie, values, images, reporter or Reporter())
    if plot is not None:
        from autogate.report import write_sensitivity_plot

        write_sensitivity_plot(document, Path(plot))
    return document
