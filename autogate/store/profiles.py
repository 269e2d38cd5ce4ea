"""Devices, and the profiles taken of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from autogate.policy import digest
from autogate.records import MIXED, DeviceCard, NetworkSample, Operator, Profile, Setting, UnitForm, UnitSample
from autogate.store import tables
from autogate.store.session import Database


class Profiles(Database):
    """The profiles of a database."""

    def add_profile(self, identity: str, profile: Profile) -> None:
        """Store a profile and its samples under its identity, if it is new."""
        setting = profile.setting
        device = {"name": setting.device_name, "kind": setting.device.partition(":")[0]}
        row = tables.Profile(
            digest=identity,
            device=digest(device),
            model=profile.model,
            input_shape=list(profile.input_shape),
            torch_device=setting.device,
            batch_size=setting.batch_size,
            dtype=setting.dtype,
            layout=setting.layout,
            threads=setting.threads,
            runtime=setting.runtime,
            versions=dict(setting.versions),
            card=profile.card.to_json(),
            method=dict(profile.method),
            created_utc=profile.created_utc,
        )
        try:
            with self.session() as session, session.begin():
                if session.get(tables.Profile, identity) is not None:
                    return
                session.merge(tables.Device(digest=digest(device), **device))
                session.flush()
                session.add(row)
                session.flush()
                session.add_all(_samples(identity, profile))
                session.add_all(_forms(identity, profile))
        except IntegrityError:
            # Another process may have been quicker; equal identities are equal profiles.
            if self.profile(identity) is None:
                raise

    def profile(self, identity: str) -> Profile | None:
        """Return a profile, or None."""
        with self.session() as session:
            row = session.get(tables.Profile, identity)
            return None if row is None else _profile(session, row)

    def profiles(self, model: str) -> list[Profile]:
        """Return all profiles of ``model``, newest first."""
        query = (
            select(tables.Profile)
            .where(tables.Profile.model == model)
            .order_by(tables.Profile.created_utc.desc(), tables.Profile.digest)
        )
        with self.session() as session:
            return [_profile(session, row) for row in session.scalars(query)]


def _samples(identity: str, profile: Profile) -> list[tables.Sample]:
    """Return a profile's samples as rows: units first, each in its order."""
    samples: Sequence[UnitSample | NetworkSample] = (*profile.units, *profile.networks)
    rows = []
    for position, sample in enumerate(samples):
        row = tables.Sample(
            profile=identity,
            position=position,
            network=sample.network,
            latency_ms=sample.ms,
            iqr_ms=sample.iqr_ms,
            passes=sample.passes,
        )
        if isinstance(sample, UnitSample):
            row.unit, row.host_ms = sample.key, sample.host_ms
        else:
            row.units, row.policy, row.macs = list(sample.keys), dict(sample.policy), sample.macs
            row.low_ms, row.high_ms = sample.interval_ms or (None, None)
            row.phase, row.decisions, row.executors = sample.phase, dict(sample.decisions), dict(sample.executors)
        rows.append(row)
    return rows


def _forms(identity: str, profile: Profile) -> list[tables.Form]:
    return [
        tables.Form(profile=identity, position=i, unit=form.key, operators=[list(astuple(op)) for op in form.operators])
        for i, form in enumerate(profile.forms)
    ]


def _profile(session: Session, row: tables.Profile) -> Profile:
    device = session.get_one(tables.Device, row.device)
    query = select(tables.Sample).where(tables.Sample.profile == row.digest).order_by(tables.Sample.position)
    units, networks = [], []
    for sample in session.scalars(query):
        times = (sample.latency_ms, sample.iqr_ms, sample.passes, sample.network)
        if sample.unit is not None:
            units.append(UnitSample(sample.unit, *times, sample.host_ms or 0.0))
            continue
        interval = None if sample.low_ms is None or sample.high_ms is None else (sample.low_ms, sample.high_ms)
        how = (interval, sample.phase or MIXED, sample.decisions or {}, sample.executors or {})
        networks.append(NetworkSample(sample.policy or {}, tuple(sample.units or ()), *times, sample.macs or 0, *how))
    setting = Setting(
        row.torch_device, device.name, row.batch_size, row.dtype, row.layout, row.threads, row.runtime, row.versions
    )
    c, h, w = row.input_shape
    card = DeviceCard(**row.card)
    found = session.scalars(select(tables.Form).filter_by(profile=row.digest).order_by(tables.Form.position))
    forms = tuple(UnitForm(form.unit, tuple(Operator(*values) for values in form.operators)) for form in found)
    return Profile(
        setting, card, row.model, (c, h, w), row.created_utc, tuple(units), tuple(networks), row.method or {}, forms
    )
