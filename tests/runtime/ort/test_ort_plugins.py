import platform
from types import SimpleNamespace

import pytest
from elf_file import AARCH64, elf_file

from nd_deploy.errors import BackendError, InputError
from nd_deploy.plugins import check
from nd_deploy.runtime.ort import plugins


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    monkeypatch.setattr(plugins, "_loaded", None)
    monkeypatch.setattr(plugins, "tensorrt_major", lambda: "10")


@pytest.fixture
def checked(monkeypatch):
    """Let every library be sound, of this build."""

    def let(self_register=True, headers="10.3.0", receipt=True):
        def check_library(path, ops, hosts):
            assert hosts == ()
            facts = SimpleNamespace(self_register=self_register, headers=headers)
            library = SimpleNamespace(sha256="5ha", receipt=facts if receipt else None)
            return SimpleNamespace(library=library, require_sound=lambda: None)

        monkeypatch.setattr(check, "check_library", check_library)

    return let


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "libplugin.so"
    path.write_bytes(elf_file())
    return path


def test_a_sound_library_is_admitted_with_its_hash(checked, file):
    checked()
    assert plugins.admit([file]) == {str(file): "5ha"}
    assert plugins.admit([file]) == {str(file): "5ha"}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.so does not exist"):
        plugins.admit([tmp_path / "absent.so"])
    with pytest.raises(InputError, match="is no file"):
        plugins.admit([tmp_path])


def test_a_path_that_would_be_split_is_refused(tmp_path):
    path = tmp_path / "a;b.so"
    path.write_bytes(elf_file())
    with pytest.raises(InputError, match="takes for the end of it"):
        plugins.admit([path])


@pytest.mark.parametrize("content", [b"no library", elf_file(machine=AARCH64)])
def test_a_file_that_cannot_be_loaded_here_is_refused(file, content):
    file.write_bytes(content)
    if content != b"no library" and platform.machine() == "aarch64":
        pytest.skip("this machine is one")
    with pytest.raises((InputError, BackendError)) as caught:
        plugins.admit([file])
    assert "libplugin.so" in caught.value.problem


def test_a_damaged_library_ends_another_process_and_not_this_one(file):
    with pytest.raises(BackendError, match=r"libplugin\.so"):
        plugins.admit([file])  # which has a head and nothing else


def test_a_library_that_waits_to_be_asked_is_of_no_use(checked, file):
    checked(self_register=False)
    with pytest.raises(BackendError) as caught:
        plugins.admit([file])
    assert "only loads a library" in caught.value.problem
    assert "--self-register" in caught.value.remedy


def test_a_library_for_another_tensorrt_is_refused(checked, file):
    checked(headers="11.1.0")
    with pytest.raises(BackendError, match=r"registers with TensorRT 11\.1\.0.* has TensorRT 10"):
        plugins.admit([file])


def test_a_library_without_a_receipt_is_taken_as_it_is(checked, file):
    checked(receipt=False)
    plugins.admit([file])


@pytest.mark.parametrize("others_first", [True, False])
def test_only_the_first_session_of_a_process_loads_any(checked, file, others_first):
    checked()
    first, second = ([file], []) if others_first else ([], [file])
    plugins.admit(first)
    with pytest.raises(BackendError, match="first TensorRT session"):
        plugins.admit(second)
