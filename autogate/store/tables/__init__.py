"""AutoGate's tables, by theme; they live beside Optuna's in one database.

Where a view for users has the plain name, the table behind it ends in ``_records``.
"""

from autogate.store.tables.artifacts import Artifact, ArtifactPart
from autogate.store.tables.base import SCHEMA_VERSION, VERSION_TABLE, Base, Meta, SchemaVersion
from autogate.store.tables.devices import Device, Form, Profile, Sample
from autogate.store.tables.policies import Evaluation, Measurement, Policy, Prediction
from autogate.store.tables.studies import Finalist, FrontPoint, Space, Study, Trial
from autogate.store.tables.work import Checkpoint, Job, Worker

__all__ = [
    "Artifact",
    "ArtifactPart",
    "Base",
    "Checkpoint",
    "Device",
    "Evaluation",
    "Finalist",
    "Form",
    "FrontPoint",
    "Job",
    "Measurement",
    "Meta",
    "Policy",
    "Prediction",
    "Profile",
    "SCHEMA_VERSION",
    "Sample",
    "SchemaVersion",
    "Space",
    "Study",
    "Trial",
    "VERSION_TABLE",
    "Worker",
]
