"""What an export consists of."""

from __future__ import annotations

SCHEMA = "autogate.export/1"
POLICY_FILE, WEIGHTS_FILE, PROGRAM_FILE, REPORT_FILE, INPUTS_FILE = (
    "policy.json",
    "model.safetensors",
    "model.pt2",
    "report.json",
    "inputs.safetensors",
)
ALL_FILES = (POLICY_FILE, WEIGHTS_FILE, PROGRAM_FILE, REPORT_FILE, INPUTS_FILE)
