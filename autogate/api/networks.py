"""What networks and search spaces offer to gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack, cast

from autogate.api.gated_networks import input_shape
from autogate.api.progress import default_reporter
from autogate.api.results import SensitivityResult, SiteInfo
from autogate.api.signatures import with_settings
from autogate.errors import ModelError
from autogate.goals import (
    SearchConfig,
    SensitivitySettings,
    check_names,
    checked_size,
    config_names,
    make_config,
    taken_by,
)
from autogate.space import load_space
from autogate.studies import Reporter

if TYPE_CHECKING:
    from torch import nn

    from autogate.api.gated_networks import ExampleInputs
    from autogate.nas.evaluating import OwnData


def find_sites(
    model: str | nn.Module = "resnet20",
    example_inputs: ExampleInputs | None = None,
    *,
    num_classes: int | None = None,
    input_size: int | str | tuple[int, int] | None = None,
) -> list[SiteInfo]:
    """Return the sites of a network with shapes and MACs, and the families that fit each.

    What looks like a site but is none comes last, with the reason.

    Args:
        model: Network: a name, or a module of your own.
        example_inputs: A batch ``[N, C, H, W]``, or the shape ``(C, H, W)`` of one input; None for the usual size of a
            network by name.
        num_classes: Outputs of the classifier of a network by name; None for its default.
        input_size: Height and width of the input of a network by name, in pixels, such as 224 or ``224x160``; used
            without ``example_inputs``.

    Raises:
        ModelError: If the network is unknown, cannot be traced, or has no site.
        AutoGateError: If ``input_size`` is none.

    Example:
        >>> [site.name for site in find_sites(model, (3, 32, 32)) if "mod" in site.families]
    """
    from autogate.gates import FAMILIES
    from autogate.models import default_input_size, input_channels, load_model
    from autogate.records import Preprocessing, Site, SiteKind
    from autogate.sites import find_sites

    if example_inputs is None and not isinstance(model, str):
        raise ModelError("give example_inputs with a module of your own, such as (3, 224, 224)")
    size = None if input_size is None else checked_size(input_size)
    module = load_model(model, num_classes=num_classes).module if isinstance(model, str) else model
    if example_inputs is None and isinstance(model, str):
        usual = Preprocessing(size or default_input_size(model))
        example_inputs = usual.with_channels(input_channels(module)).input_shape
    assert example_inputs is not None  # noqa: S101 - given with a module, or else found for a name
    network = find_sites(module, input_shape(example_inputs))

    def info(site: Site, reason: str) -> SiteInfo:
        families = [] if reason else [name for name, family in FAMILIES.items() if family.fits(site)]
        return SiteInfo({**asdict(site), "families": families, "reason": reason})

    refused = [
        info(Site(name, cast("SiteKind", name.partition(":")[0]), "", (0, 0, 0), 0, ()), why)
        for name, why in network.refused.items()
    ]
    return [*(info(site, "") for site in network.sites.values()), *refused]


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
    progress: bool = False,
    **settings: Unpack[SensitivitySettings],
) -> SensitivityResult:
    """Return how much accuracy gates at a single site or stage cost, by pruning ratio; trains no gate.

    Args:
        model: Network: a name, or a trained module of your own; one by name without weights is trained first.
        data: Dataset, as in :func:`search`.
        family: A family without weights of its own.
        tie: Whether each site is judged on its own, or all sites of a stage together.
        values: Shares to leave out, each in [0, 1); None for a fixed few.
        images: Validation images to judge on.
        plot: HTML file to draw the curves into.
        reporter: Receives progress; None logs it to the logger ``autogate``.
        progress: Whether to draw bars instead, or where nobody watches to write lines to standard error.
        **settings: Weights, data, device and seed, as in :func:`search`.

    Raises:
        AutoGateError: If anything asked for is unknown or does not fit.
        ReportError: If the plot cannot be written.
    """
    from autogate.analysis import sensitivity_document
    from autogate.nas.evaluating import CallerInputs

    if plot is not None:
        from autogate.report import check_plot_path

        check_plot_path(plot)
    check_names(settings, taken_by(SearchConfig, "sensitivity"))
    config = make_config(
        **{**config_names(model, data), **settings}, space=load_space("unified").to_json(), pareto=True
    )
    own = CallerInputs.among(model, data)
    document = sensitivity_document(
        config, own, family, tie, values, images, default_reporter(reporter, progress=progress)
    )
    if plot is not None:
        from autogate.report import write_sensitivity_plot

        write_sensitivity_plot(document, Path(plot))
    return SensitivityResult(document)
