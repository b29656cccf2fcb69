"""Plugin libraries that are none, or not ours, or crash: each is told, and nothing crashes here."""

import dataclasses
import hashlib

import pytest
from small_libraries import compile_library, plugin_source

from nd_deploy.errors import BackendError, InputError
from nd_deploy.nd.ops import DOMAIN
from nd_deploy.plugins import check, check_library
from nd_deploy.plugins.library import OPS

NOT_HOSTED = {"hosts": ()}


@pytest.fixture
def library(tmp_path):
    return lambda **changes: compile_library(tmp_path, plugin_source(**changes))


def at_load(statement):
    return f"__attribute__((constructor)) static void f(void) {{ {statement} }}\n"


def problem_of(path, **options):
    report = check_library(path, **(NOT_HOSTED | options))
    (problem,) = report.problems
    with pytest.raises(BackendError) as failure:
        report.require_sound()
    assert problem.what in failure.value.problem
    assert "nd-deploy plugin build" in failure.value.remedy
    return problem.what


def test_a_library_with_every_op_is_sound(library):
    report = check_library(library(), **NOT_HOSTED)
    report.require_sound()
    assert {name for name, _, _ in report.plugins} == set(OPS)
    assert {(version, space) for _, version, space in report.plugins} == {("1", DOMAIN)}
    assert report.as_dict()["problems"] == []


def test_the_report_holds_the_hash_of_the_file(library):
    path = library()
    assert check_library(path, **NOT_HOSTED).as_dict()["sha256"] == (
        hashlib.sha256(path.read_bytes()).hexdigest()
    )


def test_a_file_that_is_no_library_is_not_loaded(tmp_path):
    text = tmp_path / "plugin.so"
    text.write_text("not a library")
    with pytest.raises(InputError, match=r"plugin\.so is no plugin library"):
        check_library(text)
    with pytest.raises(InputError, match="is no plugin library"):
        check_library(tmp_path / "absent.so")


@pytest.mark.parametrize("kept", [5, 60, 0.5])
def test_a_truncated_library_is_refused(library, kept):
    path = library()
    content = path.read_bytes()
    path.write_bytes(content[: kept if kept > 1 else int(len(content) * kept)])
    with pytest.raises((InputError, BackendError), match=r"is no plugin library|cannot be loaded"):
        check_library(path, **NOT_HOSTED).require_sound()


def test_a_library_for_another_machine_is_refused(library):
    path = library()
    content = bytearray(path.read_bytes())
    content[18:20] = (0xB7 if content[18] != 0xB7 else 0x3E).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is a library for \w+, and this machine is \w+"):
        check_library(path)


def test_a_library_without_plugins_is_told(tmp_path):
    path = compile_library(tmp_path, "int nothing;")
    assert "getCreators" in problem_of(path)


def test_a_library_that_misses_a_symbol_cannot_be_loaded(tmp_path):
    source = plugin_source() + "extern int absent(void); int use(void) { return absent(); }"
    path = compile_library(tmp_path, source + "\nint (*used)(void) = absent;")
    assert "cannot be loaded" in problem_of(path)


def test_a_missing_op_is_named(library):
    assert problem_of(library(ops=OPS[1:])) == f"lacks {OPS[0]} 1 of {DOMAIN}"
    check_library(library(ops=OPS[1:]), ops=OPS[1:], **NOT_HOSTED).require_sound()


def test_another_namespace_is_another_op(library):
    assert "lacks" in problem_of(library(namespace="elsewhere"))


def test_plugins_of_an_older_interface_do_not_count(library):
    assert "lacks" in problem_of(library(kind="PLUGIN CREATOR_V1"))


@pytest.mark.parametrize("version", [None, 2])
def test_a_library_of_another_nd_deploy_is_told(library, version):
    assert "another nd-deploy" in problem_of(library(interface_version=version))


def test_somebody_else_s_plugins_need_no_version_of_ours(library):
    path = library(ops=["Theirs"], interface_version=None)
    check_library(path, ops=["Theirs"], **NOT_HOSTED).require_sound()


@pytest.mark.parametrize(
    ("crash", "stage", "ending"),
    [
        (at_load("__builtin_trap();"), "loading", "SIG"),
        ("#include <stdlib.h>\n" + at_load("exit(7);"), "loading", "exit code 7"),
        ("void** getCreators(int* n) { *n = 1; return (void**)8; }", "asking", "SIGSEGV"),
    ],
)
def test_a_library_that_ends_the_process_is_told_and_how(tmp_path, crash, stage, ending):
    told = problem_of(compile_library(tmp_path, crash))
    assert told.startswith(f"ended the process that was {stage}")
    assert ending in told


def test_a_library_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "_PATIENCE_S", 1)
    source = '__attribute__((constructor)) static void f(void) { for (;;) __asm__(""); }'
    assert "does not answer" in problem_of(compile_library(tmp_path, source))


def test_what_a_library_prints_does_not_get_in_the_way(tmp_path):
    noisy = "#include <stdio.h>\n" + at_load('puts("{}");')
    path = compile_library(tmp_path, noisy + plugin_source())
    check_library(path, **NOT_HOSTED).require_sound()


def test_a_self_registering_library_is_loaded_into_no_host(library, monkeypatch):
    asked = []
    ask = check._ask
    monkeypatch.setattr(check, "_ask", lambda path, host=None: asked.append(host) or ask(path))
    read = check.read_plugin

    def self_registering(path):
        receipt = type("Receipt", (), {"self_register": True})
        return dataclasses.replace(read(path), receipt=receipt)

    monkeypatch.setattr(check, "read_plugin", self_registering)
    check_library(library(), hosts=["tensorrt"])
    assert asked == [None]


FAKE_TENSORRT = """
import types
__version__ = "10.3.0"
def get_plugin_registry():
    creators = [
        types.SimpleNamespace(name=name, plugin_version="1", plugin_namespace="nd_deploy")
        for name in {names}
    ]
    return types.SimpleNamespace(load_library=lambda path: {handle}, all_creators=creators)
"""


@pytest.mark.parametrize(
    ("handle", "names", "told"),
    [
        ("object()", OPS, None),
        ("None", (), "is refused by TensorRT 10.3.0"),
        ("object()", OPS[1:], f"does not bring {OPS[0]} 1 of {DOMAIN} into TensorRT 10.3.0"),
    ],
)
def test_what_tensorrt_makes_of_a_library_is_told(
    library, tmp_path, monkeypatch, handle, names, told
):
    module = FAKE_TENSORRT.replace("{names}", repr(names)).replace("{handle}", handle)
    (tmp_path / "tensorrt.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if told is None:
        assert check_library(library(), hosts=["tensorrt"]).hosts == {"tensorrt": "10.3.0"}
    else:
        assert problem_of(library(), hosts=["tensorrt"]) == told


@pytest.mark.tensorrt
def test_tensorrt_rtx_takes_the_plugins(emulated_library):
    pytest.importorskip("tensorrt_rtx")
    report = check_library(emulated_library, hosts=["tensorrt_rtx"])
    report.require_sound()
    assert "tensorrt_rtx" in report.hosts
