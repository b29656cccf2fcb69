"""Whatever is done to an image's bytes, there is an input for the model or a refusal."""

import image_service as served
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nd_deploy.preprocess import Preprocessing
from nd_deploy.serve.images.decoding import decode_image
from nd_deploy.serve.images.multipart import file_of_form
from nd_deploy.serve.refusal import Refusal

CROPPED = Preprocessing("RGB", (6, 4), crop="center", mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
MAX_PIXELS = 10_000
WHOLE = {
    "PNG": served.encoded(served.picture()),
    "JPEG": served.encoded(served.picture(), "JPEG", progressive=True),
    "WEBP": served.encoded(served.picture(), "WEBP"),
    "BMP": served.encoded(served.picture(mode="P"), "BMP"),
}
changes = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "cut"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=4,
)
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def changed(data, steps):
    data = bytearray(data)
    for step, place, content in steps:
        # Headers matter most, so half of the changes fall into the first hundred bytes.
        reach = min(len(data), 100) if content[0] % 2 else len(data)
        at = int(place * reach)
        end = at + (0 if step == "insert" else len(content))
        data[at:end] = b"" if step == "cut" else content
    return bytes(data)


def result_or_refusal(work, *arguments):
    try:
        return work(*arguments), None
    except Refusal as refusal:
        return None, refusal


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", WHOLE)
@quick
@given(steps=changes)
def test_a_mutated_image_is_decoded_or_refused(kind, steps):
    data = changed(WHOLE[kind], steps)
    values, refusal = result_or_refusal(decode_image, data, CROPPED, MAX_PIXELS)
    if refusal is not None:
        assert refusal.status in (400, 413)
    else:
        assert values.shape == (1, 3, 6, 4)
        assert np.isfinite(values).all()


FORM = (
    b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
    b"Content-Type: image/png\r\n\r\n" + WHOLE["PNG"] + b"\r\n--edge--\r\n"
)


@quick
@given(steps=changes)
def test_a_mutated_form_is_read_or_refused(steps):
    content_type = "multipart/form-data; boundary=edge"
    file, refusal = result_or_refusal(file_of_form, changed(FORM, steps), content_type)
    assert refusal.status == 400 if refusal else isinstance(file, bytes)


@quick
@given(options=st.text(max_size=40))
def test_any_content_type_of_a_form_is_read_or_refused(options):
    content_type = f"multipart/form-data; boundary=edge; {options}"
    file, refusal = result_or_refusal(file_of_form, FORM, content_type)
    assert refusal.status == 400 if refusal else file == WHOLE["PNG"]
