"""What devices do: profiled, predicted, explained, measured."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from autogate.api.progress import default_reporter
from autogate.api.results import (
    DoctorReport,
    Explanation,
    Measurement,
    Prediction,
    Predictions,
    RuntimeMeasurements,
    ValidationResult,
)
from autogate.api.signatures import with_settings
from autogate.api.study import Study, open_store, storage_url
from autogate.errors import AutoGateError, NoiseError
from autogate.goals import ProfileSettings, SearchConfig, check_names, make_config, taken_by
from autogate.policy import Policy
from autogate.space import load_space
from autogate.store import Store
from autogate.studies import Reporter

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from autogate.nas.evaluating import OwnData
    from autogate.records import LatencyStat, Profile


@with_settings("profile")
def profile(
    model: str = "resnet20",
    *,
    space: str = "unified",
    out: str | Path | None = None,
    time_s: float | None = None,
    num_classes: int | None = None,
    transfer_from: str | None = None,
    networks: int = 20,
    allow_noisy: bool = False,
    lock_clocks: bool = False,
    storage: str | None = None,
    reporter: Reporter | None = None,
    progress: bool = False,
    **settings: Unpack[ProfileSettings],
) -> Profile:
    """Profile a network's units on this device; needs neither data nor weights.

    An interrupted profile leaves what it has in a ``.partial`` file; the same call goes on from there.

    Args:
        model: Network by name.
        space: The gates to cover.
        out: File to write; None stores the profile in the database, where a search finds it, and
            :func:`validate_profile` and :func:`explain` by its digest.
        time_s: Hard time limit in seconds; what does not fit is left out. None for 40, or longer for a slow network.
        num_classes: Outputs of the classifier; None for the network's default.
        transfer_from: A profile of the network from another device, as a file or by the name of a recorded one: then
            only a few networks are measured here, and the rest is carried over.
        networks: How many are measured then, for about two seconds each; fewer if they do not fit into the time.
        allow_noisy: Accept a profile measured on a noisy machine.
        lock_clocks: Lock the GPU at its maximum clock while profiling; it is restored afterwards.
        storage: SQLAlchemy URL of the database.
        reporter: Receives progress; None logs it to the logger ``autogate``.
        progress: Whether to draw bars instead, or where nobody watches to write lines to standard error.
        **settings: Target, seed and input size, as in :func:`search`.

    Raises:
        NoiseError: If the machine is too noisy to measure, after up to three attempts within the time; says what may
            disturb it, or that nothing was found.
        ProfileError: If the time is too short to see every gate.
        DeviceError: If clocks are to be locked and cannot.
    """
    from autogate.latency.hardware import clocks_locked, resolve_device
    from autogate.latency.profile import write_profile
    from autogate.models import default_input_size, input_channels, load_model
    from autogate.nas.profiles import (
        QUICK_PROFILE_S,
        check_setting,
        keep_profile,
        profile_network,
        searched_space,
        settled_runtime,
        settled_space,
        transfer_to_here,
    )
    from autogate.records import Preprocessing
    from autogate.sites import find_sites
    from autogate.surgery import check_dense

    check_names(settings, taken_by(SearchConfig, "profile"))
    config = make_config(model=model, space=load_space(space).to_json(), pareto=True, **settings)
    module = load_model(model, num_classes=num_classes).module
    size = Preprocessing(config.input_size or default_input_size(model))
    network = check_dense(find_sites(module, size.with_channels(input_channels(module)).input_shape))
    device, strict_time_limit = resolve_device(config.device), time_s is not None
    time_s = QUICK_PROFILE_S if time_s is None else time_s
    hears = default_reporter(reporter, progress=progress)
    with clocks_locked(device) if lock_clocks else nullcontext():
        config, _ = settled_runtime(config, network, device, hears)
        check_setting(config, network, device)
        store = open_store(storage, create=True) if out is None else None
        config = settled_space(config, device, hears, store)
        space_here = searched_space(config, network)
        try:
            if transfer_from is not None:
                taken = transfer_to_here(
                    transfer_from,
                    config,
                    network,
                    space_here,
                    device,
                    hears,
                    networks,
                    time_s,
                    allow_noisy=allow_noisy,
                    strict_time_limit=strict_time_limit,
                )
            else:
                taken = profile_network(
                    config,
                    network,
                    space_here,
                    device,
                    hears,
                    time_s,
                    allow_noisy=allow_noisy,
                    strict_time_limit=strict_time_limit,
                    checkpoint_path=_partial(out, store),
                )
        except NoiseError as error:
            raise NoiseError(f"{error}, which --allow-noisy changes") from None
    if store is not None:
        keep_profile(store, taken)
    if out is not None:
        write_profile(taken, Path(out))
    return taken


def _partial(out: str | Path | None, store: Store | None) -> Path | None:
    """Return the file for an unfinished profile: beside the file to be written, or beside the database's file."""
    if out is not None:
        return Path(f"{out}.partial")
    file = None if store is None else store.engine.url.database
    return Path(f"{file}.profile.partial") if store is not None and store.engine.name == "sqlite" and file else None


def validate_profile(
    profile: str,
    *,
    model: str | None = None,
    space: str = "unified",
    networks: int = 40,
    time_s: float = 60.0,
    seed: int = 0,
    num_classes: int | None = None,
    plot: str | Path | None = None,
    allow_stale: bool = False,
    storage: str | None = None,
    reporter: Reporter | None = None,
    progress: bool = False,
) -> ValidationResult:
    """Measure gated networks that a profile has not seen; score its predictions, and simpler ones beside.

    Args:
        profile: A profile file, the name of a recorded profile, the digest of a stored one, or a study for its own.
        model: Network by name; None for the one the profile names.
        space: As in :func:`search`.
        networks: How many networks to measure.
        time_s: Time to measure for, in seconds.
        seed: Seed of the choice of networks.
        num_classes: Outputs of the classifier; None for the network's default.
        plot: HTML file to draw predicted against measured into.
        allow_stale: Whether the profile may be of other versions; some of its networks are then measured again.
        storage: SQLAlchemy URL of the database.
        reporter: Receives progress; None logs it to the logger ``autogate``.
        progress: Whether to draw bars instead, or where nobody watches to write lines to standard error.

    Raises:
        ProfileError: If there is no such profile, or it was made on another device, in another setting or of another
            network.
    """
    from autogate.analysis import validate_profile

    if plot is not None:
        from autogate.report import check_plot_path

        check_plot_path(plot)
    document = validate_profile(
        profile,
        load_space(space),
        storage_url(storage),
        model=model,
        networks=networks,
        seconds=time_s,
        seed=seed,
        num_classes=num_classes,
        allow_stale=allow_stale,
        reporter=default_reporter(reporter, progress=progress),
    )
    if plot is not None:
        from autogate.report import write_validation_plot

        write_validation_plot(document, Path(plot))
    return ValidationResult(document)


def predict(
    study: str,
    policy: int | str | Policy = "best",
    *,
    profile: str | None = None,
    storage: str | None = None,
    model: nn.Module | None = None,
    data: OwnData | None = None,
) -> Prediction:
    """Predict the latency of a policy on a study's network and device.

    Args:
        study: Name of the study.
        policy: A policy, a JSON file of one, ``best``, or a trial number.
        profile: A profile file of another device to predict for, or the name of a recorded one.
        storage: SQLAlchemy URL of the database.
        model: The module the study was started with, if it was one.
        data: The data the study was started with, if it was no name.

    Raises:
        StudyError: If there is no such study or trial.
        PolicyError: If the policy does not fit the network.
        ProfileError: If the profile is missing, or does not fit the network or the policy.
    """
    from autogate.analysis import prediction_document
    from autogate.nas.evaluating import CallerInputs

    opened = Study(study, storage)
    CallerInputs(model, data).check(study, opened.config)
    found, realisation = (policy, None) if isinstance(policy, Policy) else opened.policy(policy)
    return Prediction(
        prediction_document(opened.store, study, found, realisation, profile=profile, model=model, data=data)
    )


def predict_many(
    study: str,
    choices: np.ndarray | None = None,
    *,
    profile: str | None = None,
    storage: str | None = None,
    model: nn.Module | None = None,
    data: OwnData | None = None,
) -> Predictions:
    """Predict the latencies of many policies of a study's space at once, given as a matrix of genes.

    ``decisions`` of the result names the columns of the matrix and their choices, in order; ``latency_ms`` holds the
    latencies in milliseconds, float64 ``[policies]``. Gates whose cost varies with the input count as fully open.

    Args:
        study: Name of the study.
        choices: For each decision of the space, the position of its choice, int ``[policies, decisions]``; 0 is dense.
            None predicts nothing, and tells the decisions.
        profile: A profile file of another device to predict for, or the name of a recorded one.
        storage: SQLAlchemy URL of the database.
        model: The module the study was started with, if it was one.
        data: The data the study was started with, if it was no name.

    Raises:
        PolicyError: If ``choices`` is no such matrix.
        ProfileError: If a policy holds a gate that was never profiled.
    """
    from autogate.analysis import many_document
    from autogate.nas.evaluating import CallerInputs

    opened = Study(study, storage)
    CallerInputs(model, data).check(study, opened.config)
    document = many_document(opened.store, study, choices, profile=profile, model=model, data=data)
    latency_ms = document.pop("predicted_ms")
    return Predictions(document, latency_ms)


def explain(
    name: str,
    *,
    model: str | None = None,
    space: str | None = None,
    num_classes: int | None = None,
    storage: str | None = None,
) -> Explanation:
    """Return where a network's time goes on a device, and which gates pay there, or why they do not.

    Args:
        name: A study, a profile file, the name of a recorded profile, or the digest of a stored one.
        model: Network by name; None for the one the profile names.
        space: As in :func:`search`; None for the study's, or ``unified``.
        num_classes: Outputs of the classifier; None for the network's default.
        storage: SQLAlchemy URL of the database.

    Raises:
        StudyError: If there is no such profile or study.
        ProfileError: If the profile is another network's, or lacks a gate.
    """
    from autogate.analysis import explanation_document

    return Explanation(
        explanation_document(
            name,
            storage_url(storage),
            model=model,
            space=None if space is None else load_space(space),
            num_classes=num_classes,
        )
    )


def measure(
    path: str | Path,
    *,
    device: str | None = None,
    batch_size: int | None = None,
    layout: str | None = None,
    threads: int | None = None,
    runtime: str | None = None,
    time_s: float = 20.0,
    latency_stat: LatencyStat = "p95",
    model: nn.Module | None = None,
) -> Measurement:
    """Measure latency, peak memory and energy of an export beside its dense network on this device.

    Latency and energy are measured interleaved; energy is None where the device does not count it.

    Args:
        path: Directory written by :func:`export`.
        device: Device to measure on; None for the one it was searched for.
        batch_size: Images per call; None likewise.
        layout: Memory layout, or ``auto`` for the one dense runs fastest in; None likewise.
        threads: CPU threads; None likewise, but no more than there are cores.
        runtime: Runtime of both networks: ``eager``, ``inductor`` (compiled ahead of time), ``cuda_graph``,
            ``onnxruntime``, ``openvino``, or one of a plug-in; None for the one it was searched for.
        time_s: Time to measure latency for, in seconds, at most.
        latency_stat: Statistic over inputs whose ratio is reported.
        model: The dense network, if it cannot be built by name.

    Raises:
        ExportError: If there is no export, or it is damaged.
        DeviceError: If it cannot run so here.
    """
    from autogate.exporters import MeasuringOptions, load_export, measure_export

    options = MeasuringOptions(device, batch_size, layout, threads, time_s, latency_stat)
    return Measurement(measure_export(load_export(Path(path), model), runtime, options))


def measure_runtimes(
    path: str | Path,
    *,
    device: str | None = None,
    batch_size: int | None = None,
    layout: str | None = None,
    threads: int | None = None,
    time_s: float = 20.0,
    latency_stat: LatencyStat = "p95",
    model: nn.Module | None = None,
) -> RuntimeMeasurements:
    """Measure an export beside its dense network in every runtime that is installed here, one after the other.

    A runtime that cannot run so is listed with the reason. The arguments are those of :func:`measure`; ``time_s`` is
    for each runtime.

    Raises:
        ExportError: If there is no export, or it is damaged.
        DeviceError: If it runs in no runtime here.
    """
    from autogate.exporters import MeasuringOptions, load_export, measure_in_all

    options = MeasuringOptions(device, batch_size, layout, threads, time_s, latency_stat)
    return RuntimeMeasurements(measure_in_all(load_export(Path(path), model), options))


def doctor(*, storage: str | None = None) -> DoctorReport:
    """Return versions, devices and the state of the machine, as they matter for measuring, and what plug-ins add."""
    from autogate.exporters import EXPORTERS
    from autogate.gates import FAMILIES
    from autogate.latency.hardware import machine_facts
    from autogate.runtimes import RUNTIMES

    try:
        known: Any = open_store(storage).study_names()
    except AutoGateError as error:
        known = str(error)
    plugins = [asdict(plugin) for registry in (FAMILIES, RUNTIMES, EXPORTERS) for plugin in registry.plugins()]
    return DoctorReport({"schema": "autogate.doctor/1", **machine_facts(), "plugins": plugins, "studies": known})
