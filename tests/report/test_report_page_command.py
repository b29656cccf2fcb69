import json
import os
import sys

import made_up_profiles as made_up
import pytest
from bundles import bundle_of
from click.testing import CliRunner
from html_page import Page

from nd_deploy.bundle import strict_json
from nd_deploy.cli.report import report_command
from nd_deploy.errors import BundleError, InputError, MissingDependencyError

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def bundle(tmp_path):
    return bundle_of(tmp_path / "bundle")


@pytest.fixture
def write_profile(tmp_path, bundle):
    """Write a measurement; of the bundle unless models are given."""

    def write(name="profile.json", **changes):
        digest = bundle.manifest.files["model.onnx"]
        own = (made_up.model_record("digits", sha256=digest),)
        profile = made_up.profile(made_up.row(), **({"models": own} | changes))
        path = tmp_path / name
        path.write_text(strict_json.dumps(profile.as_dict()))
        return path

    return write


def invoke(*arguments):
    result = CliRunner().invoke(report_command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_page_joins_fold_parity_and_latency(bundle, write_profile, tmp_path):
    page = tmp_path / "page.html"
    result = invoke(bundle.path, "--profile", write_profile(), "-o", page)
    assert result.exit_code == 0
    assert f"written to {page}" in result.stdout
    text = Page(page.read_text(encoding="utf-8")).text
    for heading in ("Parity", "Fold", "Latency", "Environment"):
        assert heading in text
    assert "1 · digits, ort-cpu, batch 1" in text


def test_without_a_measurement_there_is_a_page_too(bundle, tmp_path):
    invoke(bundle.path, "-o", tmp_path / "page.html")
    assert "Nothing was measured yet" in (tmp_path / "page.html").read_text()


def test_several_measurements_are_on_the_page(bundle, write_profile, tmp_path):
    first, second = write_profile("1.json"), write_profile("2.json")
    invoke(bundle.path, "--profile", first, "--profile", second, "-o", tmp_path / "page.html")
    assert "Measurement 2" in (tmp_path / "page.html").read_text()


def test_nothing_of_the_user_s_is_changed(bundle, write_profile, tmp_path):
    profile = write_profile()
    before = contents(tmp_path)
    invoke(bundle.path, "--profile", profile, "-o", tmp_path / "page.html")
    after = contents(tmp_path)
    assert after.pop(tmp_path / "page.html")
    assert after == before


def test_json_holds_what_the_page_shows(bundle, write_profile, tmp_path):
    profile = write_profile()
    result = invoke(bundle.path, "--profile", profile, "-o", tmp_path / "page.html", "--json")
    document = json.loads(result.stdout)
    assert document["report"] == str(tmp_path / "page.html")
    assert document["parity"]["passed"] is True
    assert [decision["layer"] for decision in document["decisions"]][-1] == "norm5"
    assert document["profiles"] == [json.loads(profile.read_text())]
    assert (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("models", "named"),
    [
        ((made_up.model_record("digits"),), "of other models (digits)"),
        ((made_up.model_record("naive"),), "of no bundle"),
        ((), "of no bundle"),
    ],
)
def test_a_measurement_of_another_model_is_refused(bundle, write_profile, tmp_path, models, named):
    profile = write_profile(models=models)
    with pytest.raises(InputError) as refusal:
        invoke(bundle.path, "--profile", profile, "-o", tmp_path / "page.html")
    assert str(profile) in refusal.value.problem
    assert named in refusal.value.problem
    assert f"nd-deploy profile {bundle.path}" in refusal.value.remedy
    assert not (tmp_path / "page.html").exists()


def test_a_file_of_the_same_hash_that_was_no_bundle_does_not_pass(bundle, write_profile, tmp_path):
    digest = bundle.manifest.files["model.onnx"]
    profile = write_profile(models=(made_up.model_record("model.onnx", sha256=digest),))
    with pytest.raises(InputError, match="of no bundle"):
        invoke(bundle.path, "--profile", profile, "-o", tmp_path / "page.html")


def test_one_bundle_of_two_is_enough(bundle, write_profile, tmp_path):
    digest = bundle.manifest.files["model.onnx"]
    models = (made_up.model_record("old"), made_up.model_record("new", sha256=digest))
    invoke(bundle.path, "--profile", write_profile(models=models), "-o", tmp_path / "page.html")
    assert (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("name", "problem", "remedy"),
    [
        ("page.json", "no name of a page", "end it in .html"),
        ("missing/page.html", "there is no folder", "make it"),
        ("bundle/page.html", "lies in the bundle", "another folder"),
        ("folder.html", "is no file", "another name"),
        ("mine.html", "exists already", "--overwrite"),
    ],
)
def test_an_output_that_may_not_be_written_is_refused_before_any_work(
    bundle, tmp_path, name, problem, remedy
):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "mine.html").write_text("<p>mine</p>")
    before = contents(tmp_path)
    with pytest.raises(InputError) as refusal:
        # The bundle is not even looked at.
        invoke(bundle.path, "--profile", "nowhere", "-o", tmp_path / name)
    assert problem in refusal.value.problem
    assert name.split("/")[-1] in refusal.value.problem
    assert remedy in refusal.value.remedy
    assert contents(tmp_path) == before


def test_overwrite_replaces_a_page_and_nothing_else(bundle, tmp_path):
    page, mine = tmp_path / "page.html", tmp_path / "mine.html"
    invoke(bundle.path, "-o", page)
    written = page.read_bytes()
    invoke(bundle.path, "-o", page, "--overwrite")
    assert page.read_bytes() == written
    mine.write_text("<p>mine</p>")
    with pytest.raises(InputError, match="no page that nd-deploy wrote"):
        invoke(bundle.path, "-o", mine, "--overwrite")
    assert mine.read_text() == "<p>mine</p>"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any folder")
def test_a_folder_that_may_not_be_written_to_is_refused(bundle, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(InputError, match="may not be written to"):
        invoke(bundle.path, "-o", closed / "page.html")


def test_a_page_that_cannot_be_finished_leaves_the_old_one_and_no_trace(
    bundle, tmp_path, monkeypatch
):
    from pathlib import Path

    page = tmp_path / "page.html"
    invoke(bundle.path, "-o", page)
    before = contents(tmp_path)

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError) as refusal:
        invoke(bundle.path, "-o", page, "--overwrite")
    assert "the disk is full" in refusal.value.problem
    monkeypatch.undo()
    assert contents(tmp_path) == before
    assert not list(tmp_path.glob(".nd-deploy-*"))


def test_a_link_stays_and_what_it_leads_to_is_replaced(bundle, tmp_path):
    page, link = tmp_path / "page.html", tmp_path / "link.html"
    invoke(bundle.path, "-o", page)
    link.symlink_to(page)
    invoke(bundle.path, "-o", link, "--overwrite")
    assert link.is_symlink()
    assert not page.is_symlink()


def test_what_is_no_bundle_or_no_measurement_is_refused(bundle, tmp_path):
    with pytest.raises(BundleError):
        invoke(tmp_path, "-o", tmp_path / "page.html")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"other\.json"):
        invoke(bundle.path, "--profile", tmp_path / "other.json", "-o", tmp_path / "page.html")


def test_matplotlib_is_missed_before_any_work(bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError) as refusal:
        invoke(tmp_path / "no bundle", "-o", tmp_path / "page.html")
    assert "nd-deploy[report]" in refusal.value.remedy
