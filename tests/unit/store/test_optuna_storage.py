"""Optuna's own dashboard opens a study database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna_dashboard

from autogate.store import upgrade_database
from tests.support.databases import released


def test_optuna_dashboard_shows_studies_and_trials(tmp_path: Path) -> None:
    url = released(2, tmp_path / "studies")
    upgrade_database(url)
    app = optuna_dashboard.wsgi(url)

    def get(path: str) -> Any:
        environ: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": "after=0"}
        setup_testing_defaults(environ)
        answers: list[str] = []
        body = b"".join(app(environ, lambda status, headers, *_: answers.append(status)))
        assert answers == ["200 OK"]
        return json.loads(body)

    studies = {study["study_name"]: study["study_id"] for study in get("/api/studies")["study_summaries"]}
    assert "budget" in studies
    assert len(get(f"/api/studies/{studies['budget']}")["trials"]) == 8
