import pytest

from nd_deploy.errors import InputError
from nd_deploy.triton.releases import IMAGE, LEAST, PINNED, RELEASES, release_of

DIGEST = "@sha256:" + "0" * 64


def test_what_is_pinned_is_current_and_known():
    assert IMAGE == "nvcr.io/nvidia/tritonserver:26.10-py3"
    assert release_of(IMAGE) is RELEASES[PINNED]


def test_a_mirror_and_a_digest_will_do():
    assert release_of(f"mirror.example:5000/nv/tritonserver:26.08-py3{DIGEST}").name == "26.08"


@pytest.mark.parametrize("release", ["26.06", "26.01", "24.10", "23.05"])
def test_a_release_with_known_holes_is_refused(release):
    with pytest.raises(
        InputError, match=rf"{release}-py3: Triton before 26\.07 has critical holes"
    ):
        release_of(f"nvcr.io/nvidia/tritonserver:{release}-py3")


@pytest.mark.parametrize(
    "tag", ["", ":latest", ":26.10-py3-sdk", ":26.10-vllm-python-py3", ":26.10-py3-min", DIGEST]
)
def test_a_tag_that_does_not_say_the_release_and_the_backends_is_refused(tag):
    with pytest.raises(InputError, match="has no tag such as"):
        release_of(f"nvcr.io/nvidia/tritonserver{tag}")


def test_a_release_of_which_nothing_is_known_is_refused():
    with pytest.raises(InputError, match=r"nothing is known of Triton 27\.01; known are 26\.07"):
        release_of("nvcr.io/nvidia/tritonserver:27.01-py3")


def test_the_least_release_is_the_first_one_without_known_holes():
    assert LEAST == "26.07"
