"""A search for the runtime that is deployed: profiled, predicted, measured and delivered there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from autogate import api
from autogate.errors import DeviceError
from autogate.nas.profiles import choosing
from autogate.resources import benchmark
from autogate.store import Store
from tests.support.workplace import Workplace, winner


@pytest.fixture(scope="module")
def storage(workplace: Workplace) -> str:
    return f"sqlite:///{workplace.root / 'deployed' / 'studies.db'}"


@pytest.fixture(scope="module", autouse=True)
def _short() -> Iterator[None]:
    """Profile and measure briefly: nothing here is about how well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "QUICK_PROFILE_S", 5.0)
        patch.setattr(benchmark, "_MEASURE_S", 1.0)
        patch.setattr(benchmark, "_NEAR_MISS", 0.0)
        yield


@pytest.fixture(scope="module")
def deployed(workplace: Workplace, storage: str) -> api.Study:
    settings = {**workplace.quick, "runtime": "auto", "layout": "auto"}
    return api.search(latency_budget="900%", trials=3, study="deployed", storage=storage, **settings)


def test_the_runtime_is_chosen_kept_and_told(deployed: api.Study, storage: str) -> None:
    document = deployed.document()
    times: dict[str, Any] = {one["runtime"]: one["dense_ms"] for one in document["runtimes"]}
    known = {name: ms for name, ms in times.items() if ms is not None}
    assert known.keys() == {"eager", "onnxruntime", "openvino"}
    fastest = min(known, key=known.__getitem__)
    assert document["runtime"] == fastest == deployed.config.runtime
    [profile] = Store(storage).profiles("e2enet:build")
    assert profile.setting.runtime == fastest


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_search_in_a_runtime_of_files(runtime: str, workplace: Workplace, storage: str) -> None:
    settings = {**workplace.quick, "runtime": runtime}
    study = api.search(latency_budget="900%", trials=3, study=runtime, storage=storage, **settings)
    found = winner(study.document())
    assert study.document()["runtime"] == runtime
    assert found["measured_ms"]["p50"] > 0
    # Where networks allocate in another process, their memory is not seen.
    assert found["peak_memory_bytes"] is None
    to = workplace.root / f"out-{runtime}"
    report = study.export(to, str(found["trial"])).to_json()
    assert list(report["formats"]) == [{"onnxruntime": "onnx", "openvino": "openvino"}[runtime]]
    assert report["verified"]["changed_predictions"] == 0
    again = api.measure(to, time_s=0.5).to_json()
    assert again["setting"]["runtime"] == runtime
    assert again["gated"]["pass_p90"] <= again["gated"]["pass_p99"]


def test_an_export_is_measured_in_every_runtime(deployed: api.Study, workplace: Workplace) -> None:
    to = workplace.root / "out-all"
    api.export("deployed", to, trial=str(winner(deployed.document())["trial"]), storage=deployed.storage)
    found = api.measure_runtimes(to, time_s=0.5)
    assert found.by_runtime.keys() == {"eager", "inductor", "onnxruntime", "openvino"}
    assert all(one.latency_ms > 0 for one in found.by_runtime.values())
    [left_out] = [row for row in found.to_json()["runtimes"] if row["measurement"] is None]
    assert (left_out["runtime"], "runs on a GPU" in left_out["reason"]) == ("cuda_graph", True)


def test_memory_is_not_limited_where_it_is_not_seen(workplace: Workplace, storage: str) -> None:
    settings = {**workplace.quick, "runtime": "onnxruntime"}
    with pytest.raises(DeviceError, match="--memory-budget cannot be measured in runtime onnxruntime"):
        api.search(memory_budget="50%", latency_budget="90%", study="small", storage=storage, **settings)


@pytest.mark.parametrize("runtime", ["auto", "openvino"])
def test_a_search_in_eight_bits(runtime: str, workplace: Workplace, storage: str) -> None:
    settings = {**workplace.quick, "runtime": runtime, "dtype": "int8", "score_quantized": runtime == "openvino"}
    study = api.search(latency_budget="900%", trials=3, study=f"int8-{runtime}", storage=storage, **settings)
    document = study.document()
    assert document["dtype"] == "int8"
    assert document["runtime"] in ("onnxruntime", "openvino")
    reasons = {one["runtime"]: one["reason"] for one in document.get("runtimes") or ()}
    assert reasons.get("eager", "it does not run int8") == "it does not run int8"
    found = winner(document)
    to = workplace.root / f"out-int8-{runtime}"
    report = study.export(to, str(found["trial"])).to_json()
    [quantised] = [one["quantised"] for one in report["formats"].values()]
    # The accuracy in the study is that of the file as the runtime computes it.
    assert abs(found["test_accuracy"] - quantised["accuracy"]) < 0.05
    assert abs(quantised["float_accuracy"] - quantised["accuracy"]) < 0.2
    assert report["setting"]["dtype"] == "int8"
    table = api.measure_runtimes(to, time_s=0.5).to_json()["runtimes"]
    dtypes = {row["runtime"]: row["measurement"]["setting"]["dtype"] for row in table if row["measurement"]}
    assert dtypes == {"eager": "float32", "inductor": "float32", "onnxruntime": "int8", "openvino": "int8"}


def test_a_search_in_half_precision(workplace: Workplace, storage: str) -> None:
    settings = {**workplace.quick, "runtime": "openvino", "dtype": "bfloat16"}
    try:
        study = api.search(latency_budget="900%", trials=3, study="half", storage=storage, **settings)
    except DeviceError as error:
        assert "OpenVINO computes in f32 on this CPU, and not in bf16" in str(error)  # noqa: PT017 - not every CPU can
        pytest.skip("this CPU has no bfloat16")
    found = winner(study.document())
    to = workplace.root / "out-half"
    report = study.export(to, str(found["trial"])).to_json()
    assert report["formats"]["openvino"]["measured"]["setting"]["dtype"] == "bfloat16"
    # The file itself holds float32.
    assert report["verified"]["max_difference"] < 1e-3
    assert abs(found["test_accuracy"] - report["formats"]["openvino"]["accuracy"]) < 0.05
    table = api.measure_runtimes(to, time_s=0.5).to_json()["runtimes"]
    dtypes = {row["runtime"]: row["measurement"]["setting"]["dtype"] for row in table if row["measurement"]}
    assert dtypes["openvino"] == "bfloat16"
    assert dtypes["onnxruntime"] == "float32"
