import errno
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_explain_pictures import first, image_kernels, layers

from nd_deploy.errors import InputError
from nd_deploy.explain.explanation import Explanation
from nd_deploy.explain.record import Spectra
from nd_deploy.explain.report import check_report, write_report
from nd_deploy.explain.spectrum import LayerSpectrum


def spectra():
    unread = LayerSpectrum("norm", "ChannelDeconv", np.full((1, 4), np.nan), 5)
    return Explanation("net", Spectra((*layers(2), unread), first(1)), None)


@pytest.fixture
def folder(tmp_path):
    write_report(tmp_path / "out", spectra())
    return tmp_path / "out"


def test_the_folder_holds_the_page_the_pictures_and_the_numbers(tmp_path):
    explanation = Explanation("net", spectra().spectra, image_kernels())
    files = write_report(tmp_path / "a" / "out", explanation)
    names = ["explain.html", "explain.json", "spectrum.png", "kernels.png", "kernels_images.png"]
    assert [file.name for file in files] == names
    assert sorted(path.name for path in (tmp_path / "a" / "out").iterdir()) == sorted(names)
    for file in files[2:]:
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            image.load()


def test_the_numbers_are_strict_json(folder):
    def refuse(word):
        raise AssertionError(word)

    document = json.loads((folder / "explain.json").read_text(), parse_constant=refuse)
    assert document["kind"] == "nd-deploy explanation"
    assert document["layers"][1]["eigenvalues"] == [np.linspace(1, 3, 8).tolist()]
    assert document["layers"][1]["condition"] == 3
    assert document["layers"][1]["condition_bound"] == 1.5**5
    assert document["layers"][2]["eigenvalues"] is None
    (shown,) = document["first_convolution"]["shown"]
    assert shown["centre"] == pytest.approx(1.9)
    assert np.array(shown["kernels"]).shape == (1, 3, 3)


def test_no_path_of_this_machine_is_written(folder, tmp_path):
    for file in folder.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()


def test_an_existing_folder_is_refused(folder):
    with pytest.raises(InputError, match="exists already") as caught:
        write_report(folder, spectra())
    assert "--overwrite" in caught.value.remedy


def test_a_report_is_replaced_if_that_is_asked_for(folder):
    write_report(folder, Explanation(None, None, image_kernels()), overwrite=True)
    assert not (folder / "spectrum.png").exists()
    assert (folder / "kernels_images.png").exists()


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("thesis.tex", "text", "is no report"),
        ("explain.json", "{}", "something else's"),
        ("explain.json", "{", "cannot be read"),
    ],
)
def test_a_folder_that_is_no_report_is_never_replaced(tmp_path, name, content, complaint):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=complaint):
        check_report(tmp_path, overwrite=True)
    assert (tmp_path / name).read_text() == content


def test_a_report_with_files_of_the_user_is_never_replaced(folder):
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        write_report(folder, spectra(), overwrite=True)


def test_a_failure_half_way_keeps_the_report_that_was_there(folder, monkeypatch):
    before = (folder / "explain.json").read_bytes()
    write = Path.write_bytes

    def fail(self, content):
        if self.suffix == ".png":
            raise OSError(errno.ENOSPC, "full")
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(InputError, match="disk is full"):
        write_report(folder, spectra(), overwrite=True)
    assert (folder / "explain.json").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
