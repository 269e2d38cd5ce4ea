"""Registries find built-in items, those of the program and those of packages; a package that fails is named."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from autogate.errors import PolicyError
from autogate.exporters import EXPORTERS, Exporter, register_exporter
from autogate.gates import FAMILIES, Family, register_family
from autogate.runtimes import RUNTIMES, Runtime, register_runtime
from autogate.system import Registry

BELLS = """
from abc import ABC, abstractmethod
from autogate.errors import PolicyError
from autogate.system import Registry, registering

class Bell(ABC):
    @abstractmethod
    def ring(self): ...

BELLS = Registry("bell", "test.bells", PolicyError, built_in=("bells_large", "bells_small"))
register_bell = registering(BELLS, Bell)
"""
BELL = """
from bells import Bell, register_bell

@register_bell
class {kind}(Bell):
    name = "{name}"
    def ring(self): return "{name}"
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a package of one module, with entry points to it; all is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(module: str, code: str, *names: str) -> None:
        (tmp_path / f"{module}.py").write_text(dedent(code), encoding="utf-8")
        if names:
            facts = tmp_path / f"{module}-1.5.dist-info"
            facts.mkdir()
            (facts / "METADATA").write_text(f"Name: {module}\nVersion: 1.5\n", encoding="utf-8")
            points = "".join(f"{name} = {module}\n" for name in names)
            (facts / "entry_points.txt").write_text(f"[test.bells]\n{points}", encoding="utf-8")
        importlib.invalidate_caches()

    write("bells", BELLS)
    # One built-in module may need another: the order is the declared one.
    write("bells_large", "import bells_small\n" + BELL.format(kind="Large", name="large"))
    write("bells_small", BELL.format(kind="Small", name="small"))
    yield write
    for name in set(sys.modules) - before:
        if name.startswith("bell") or name.startswith("pack"):
            del sys.modules[name]


def bells() -> ModuleType:
    return importlib.import_module("bells")


def registry() -> Registry[object]:
    return bells().BELLS


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "autogate"]


def test_built_in_items_come_first_and_in_order(install: Install) -> None:
    install("pack_hand", BELL.format(kind="Hand", name="hand"), "hand")
    assert list(registry()) == ["large", "small", "hand"]
    assert registry().built_in() == ("large", "small")
    assert len(registry()) == 3
    assert registry()["hand"].ring() == "hand"  # type: ignore[attr-defined]
    assert [(one.name, one.package, one.version, one.error) for one in registry().plugins()] == [
        ("hand", "pack_hand", "1.5", None)
    ]


def test_a_built_in_item_is_found_without_loading_packages(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install("pack_broken", "raise RuntimeError('no')", "hand")
    assert registry().find("small").ring() == "small"  # type: ignore[attr-defined]
    assert "pack_broken" not in sys.modules
    assert warnings_of(caplog) == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "there is no module 'no_such_module'"),
        ("raise RuntimeError('a\\nlong day')", "RuntimeError: a"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("x = 1", "pack_hand registers no bell of that name"),
        (BELL.format(kind="Hand", name="Hand bell"), "bell: a name must be like my_name, not 'Hand bell'"),
        (
            "from bells import Bell, register_bell\n\n@register_bell\nclass Hand(Bell):\n    name = 'hand'\n",
            "the bell Hand is incomplete: Can't instantiate abstract class Hand with abstract method ring",
        ),
        (
            "from bells import register_bell\n\n@register_bell\nclass Hand:\n    name = 'hand'\n",
            "a bell must be a class that inherits Bell, not <class 'pack_hand.Hand'>",
        ),
        (
            BELL.format(kind="Small", name="small"),
            "the name 'small' is taken by the bell bells_small.Small; choose another name",
        ),
        (BELL.format(kind="Hand", name="hand") + "\nraise ValueError('late')", "ValueError: late"),
    ],
)
def test_a_package_that_fails_is_named_once_and_the_rest_works(
    install: Install, caplog: pytest.LogCaptureFixture, code: str, reason: str
) -> None:
    install("pack_hand", code, "hand")
    install("pack_other", BELL.format(kind="Other", name="other"), "other")
    line = (
        f"bell 'hand' of package pack_hand 1.5 cannot be used: {reason}; repair it, or remove it with "
        "`pip uninstall pack_hand`"
    )
    with caplog.at_level(logging.WARNING):
        assert list(registry()) == ["large", "small", "other"]
        assert registry()["small"].ring() == "small"  # type: ignore[attr-defined]
        with pytest.raises(PolicyError) as raised:
            registry().find("hand")
    assert str(raised.value) == line
    assert warnings_of(caplog) == [line]
    assert [one.error for one in registry().plugins()] == [reason, None]


def test_a_name_that_exists_is_not_taken_over(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install("pack_a", BELL.format(kind="Hand", name="hand"), "hand", "small")
    install("pack_b", BELL.format(kind="Hand", name="hand"), "hand")
    with caplog.at_level(logging.WARNING):
        assert list(registry()) == ["large", "small", "hand"]
    assert type(registry()["hand"]).__module__ == "pack_a"
    assert registry()["small"].ring() == "small"  # type: ignore[attr-defined]
    first, second = warnings_of(caplog)
    assert first.startswith(
        "bell 'small' of package pack_a 1.5 cannot be used: the name is taken by the bell bells_sma"
    )
    assert second.startswith("bell 'hand' of package pack_b 1.5 cannot be used: the name is taken by the bell pack_a.H")


def test_a_program_registers_and_replaces_its_own(install: Install) -> None:
    install("pack_hand", BELL.format(kind="Hand", name="hand"), "hand")
    importlib.import_module("pack_hand")  # imported by the program before the entry point is looked at
    assert list(registry()) == ["large", "small", "hand"]
    assert [one.error for one in registry().plugins()] == [None]
    before = registry()["hand"]
    importlib.reload(sys.modules["pack_hand"])
    assert registry()["hand"] is not before
    with pytest.raises(
        PolicyError, match=r"the name 'large' is taken by the bell bells_large.Large; choose another name"
    ):
        exec(BELL.format(kind="Other", name="large"), {"__name__": "program"})  # noqa: S102


def test_unknown_names_come_with_the_closest(install: Install) -> None:
    with pytest.raises(PolicyError, match=r"^unknown bell 'lagre'; did you mean large\? \(known: large, small\)$"):
        registry().find("lagre")
    with pytest.raises(PolicyError, match=r"^unknown bell 'zzz' \(known: large, small\)$"):
        registry().find("zzz")
    with pytest.raises(KeyError):
        registry()["zzz"]


@pytest.mark.parametrize(
    ("found", "base", "register"),
    [
        (FAMILIES, Family, register_family),
        (RUNTIMES, Runtime, register_runtime),
        (EXPORTERS, Exporter, register_exporter),
    ],
    ids=["families", "runtimes", "exporters"],
)
def test_the_registries_of_autogate_refuse_what_is_incomplete(
    found: Registry[object], base: type, register: Callable[[type], type]
) -> None:
    assert all(isinstance(found[name], base) for name in found.built_in())
    with pytest.raises(found.error, match=r"the .* Half is incomplete: Can't instantiate abstract class Half"):
        register(type("Half", (base,), {"name": "half"}))
    assert "half" not in found
