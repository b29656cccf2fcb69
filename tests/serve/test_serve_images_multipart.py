"""Forms with a file."""

import image_service as served
import pytest

from nd_deploy.serve.images.multipart import file_of_form, is_multipart
from nd_deploy.serve.refusal import Refusal

PNG = served.encoded(served.picture())
TYPE = "multipart/form-data; boundary=edge"


def form(*parts, end=b"--edge--\r\n"):
    head = b'--edge\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'
    return b"".join(head + part + b"\r\n" for part in parts) + end


@pytest.mark.parametrize(
    "file", [PNG, b"", b"\r\n", b"\r\n--edg", b"--edge", b"\r\n\r\n--ed", bytes(range(256)) * 99]
)
def test_the_file_of_a_form_is_read_byte_by_byte(file):
    assert file_of_form(form(file), TYPE) == file


@pytest.mark.parametrize(
    ("body", "content_type", "complaint"),
    [
        (form(PNG), "multipart/form-data", "no boundary"),
        (form(PNG, PNG), TYPE, "more than one part"),
        (form(), TYPE, "no part"),
        (form(PNG, end=b""), TYPE, "cut short"),
        (form(PNG)[:60], TYPE, "cut short"),
        (form(PNG), "multipart/form-data; boundary=other", "damaged"),
        (form(PNG), f"multipart/form-data; boundary={'e' * 300}", "damaged"),
        (b"", TYPE, "cut short"),
        (PNG, TYPE, "damaged"),
        (b"--edge\r\n" + b"a: b\r\n" * 99 + b"\r\n" + form(PNG), TYPE, "damaged"),
    ],
)
def test_a_form_that_is_not_one_file_is_refused(body, content_type, complaint):
    with pytest.raises(Refusal, match=complaint) as caught:
        file_of_form(body, content_type)
    assert caught.value.status == 400
    assert "the file itself as the request's body" in caught.value.message


def test_forms_are_known_by_their_type():
    assert is_multipart("Multipart/Form-Data; boundary=x")
    assert not is_multipart("image/png")
    assert not is_multipart("")
