"""The page in a real browser: on a telephone and on a desktop, by day and by night."""

import browser
import pytest
from test_explain_pictures import first, image_kernels, layers

from nd_deploy.explain.explanation import Explanation
from nd_deploy.explain.page import page
from nd_deploy.explain.pictures import draw
from nd_deploy.explain.record import Spectra

pytestmark = pytest.mark.skipif(browser.find() is None, reason=browser.MISSING)


@pytest.fixture(scope="module")
def pages():
    whole = Explanation("net" * 30, Spectra(layers(), first()), image_kernels(3))
    return {"explain": page(whole, draw(whole))}


@pytest.mark.parametrize("scheme", browser.SCHEMES)
def test_the_page_is_readable_on_a_telephone_and_on_a_desktop(scheme, pages, tmp_path):
    facts, console = browser.look(pages, scheme, tmp_path)
    assert len(facts) == 2
    for fact in facts.values():
        assert len(fact["images"]) == 3
        browser.check_readable(fact, scheme)
    assert console == []
