"""What must hold of every kind, whichever file it is in; a new one is found here too."""

import re
import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import pytest

import harmonia_compiler.kinds as package
from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.types import Text
from harmonia_compiler.kinds.kind import COMMON_SETTINGS, Extent, Kind, Setting
from harmonia_compiler.kinds.registry import kind_names, kinds

EVERY_KIND = pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: kind.name)
EVERY_SETTING = pytest.mark.parametrize(
    "setting",
    [setting for kind in kinds().values() for setting in (*kind.settings, *COMMON_SETTINGS)],
    ids=lambda setting: setting.name,
)


def test_the_kinds_are_those_of_the_folder() -> None:
    assert tuple(kinds()) == kind_names()
    modules = [import_module(f"{package.__name__}.{found.name}") for found in iter_modules(package.__path__)]
    assert {module.KIND.name for module in modules if hasattr(module, "KIND")} == set(kind_names())


@EVERY_KIND
def test_a_kind_is_whole(kind: Kind) -> None:
    names = [setting.name for setting in (*kind.settings, *COMMON_SETTINGS)]
    assert len(set(names)) == len(names)
    assert kind.doc.endswith(".")
    unnamed = kind.setting(kind.unnamed)
    assert unnamed is not None
    assert unnamed.required
    assert (kind.launch is None) == kind.external
    assert kind.runs_on or kind.external
    assert (kind.encode_many is None) == (kind.decode_many is None)
    assert kind.model_setting is None or kind.setting(kind.model_setting) is not None


@EVERY_KIND
def test_what_a_port_is_sent_through_is_a_component_setting(kind: Kind) -> None:
    for port, way in kind.through.items():
        setting = kind.setting(way.setting)
        assert setting is not None
        assert setting.type == "component"
        assert set(setting.accepts) <= set(kind_names())
        assert kind.signature is not None
        ports = {each.name for each in kind.signature.ports}
        assert port in ports
        signatures = [kinds()[each].signature for each in setting.accepts]
        assert {each and each.result for each in signatures} == {way.gives}
        assert (way.plain is None) == (way.wherever is None)
        if way.plain is not None and way.wherever is not None:
            assert way.plain not in ports
            wherever = kind.setting(way.wherever)
            assert wherever is not None
            assert wherever.type == "bool"


@EVERY_SETTING
def test_a_setting_is_sound(setting: Setting) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", setting.name)
    assert setting.doc
    assert not setting.doc.endswith(".")
    if setting.default is not None:
        assert not setting.required
        assert not setting.accepts or setting.default in setting.accepts
        assert setting.minimum is None or setting.minimum <= setting.default
        assert setting.maximum is None or setting.default <= setting.maximum
    if setting.pattern is not None:
        re.compile(setting.pattern)
    # What is refused is said in words too, by the finding and by `explain`.
    assert bool(setting.form) == (setting.pattern is not None or setting.slip_in is not None)


@EVERY_KIND
def test_a_result_has_an_extent_without_any_setting(kind: Kind) -> None:
    result = kind.signature.result if kind.signature else Text()
    extent = kind.result_extent(Component("c", kind.name, "e", (), result))
    assert isinstance(extent, Extent)
    assert extent.tokens >= 0
    assert extent.items >= 1


def test_loading_the_kinds_loads_no_engine() -> None:
    code = (
        "import sys; from harmonia_compiler.kinds.registry import kinds; kinds();"
        "heavy = ('torch', 'pymilvus', 'vllm', 'networkx', 'highspy', 'aiohttp');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
