from pathlib import Path

import pytest

from nd_deploy.cli.serve_options import (
    check_settings,
    default_settings,
    name_and_path,
    read_token,
    with_limits,
)
from nd_deploy.errors import InputError
from nd_deploy.serve.settings import Settings


def test_a_bundle_is_called_after_its_folder_or_as_it_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()
    assert name_and_path("out/digits/") == ("digits", Path("out/digits"))
    assert name_and_path("d=out/x=y") == ("d", Path("out/x=y"))
    # A folder that is there is meant as it is written.
    assert name_and_path("a=b") == ("a=b", Path("a=b"))
    assert name_and_path(".") == (tmp_path.name, Path())


def test_in_kubernetes_a_server_goes_on_for_a_while():
    assert default_settings({}).drain_delay == 0
    assert default_settings({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}).drain_delay == 5


def test_limits_are_set_by_name_in_their_own_units():
    found = with_limits(
        Settings(), ["body_limit=1MiB", "deadline=2.5", "queue_limit=7", "allow_nonfinite=on"]
    )
    assert (found.body_limit, found.deadline, found.queue_limit) == (2**20, 2.5, 7)
    assert found.allow_nonfinite is True


@pytest.mark.parametrize(
    "text",
    ["body_limit", "no_such=1", "body_limit=huge", "deadline=soon", "queue_limit=1.5", "token=abc",
     "host=0.0.0.0", "allow_nonfinite=maybe"],
)  # fmt: skip
def test_a_limit_that_is_none_is_refused_by_name(text):
    with pytest.raises(InputError, match=f"--limit {text}"):
        with_limits(Settings(), [text])


@pytest.mark.parametrize(
    "changes", [{"max_batch": 0}, {"deadline": 0.0}, {"instances": 0}, {"batch_delay": -1.0}]
)
def test_limits_under_which_nothing_is_served_are_refused(changes):
    with pytest.raises(InputError, match=f"{next(iter(changes))} is "):
        check_settings(Settings(**changes))
    check_settings(Settings(http_port=0, grpc_port=0, reload_interval=0, drain_timeout=0))


def test_a_token_is_the_first_line_of_its_file(tmp_path):
    file = tmp_path / "token"
    file.write_text("abc-DEF_123  \nmore\n")
    assert read_token(file) == "abc-DEF_123"


@pytest.mark.parametrize("content", [b"", b"\n", b"two words\n", b"\xff\n", b"a\x00b\n"])
def test_a_file_without_a_token_is_refused(tmp_path, content):
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"--token-file .*token") as refusal:
        read_token(file)
    assert refusal.value.remedy.startswith("make one")
    with pytest.raises(InputError, match="No such file"):
        read_token(tmp_path / "gone")
