"""The page in a real browser: on a telephone and on a desktop, by day and by night."""

import browser
import made_up_profiles as made_up
import pytest
from bundles import bundle_of

from nd_deploy.report.page import profile_page, report_page

pytestmark = pytest.mark.skipif(browser.find() is None, reason=browser.MISSING)

HOSTILE = '<img src="http://example.invalid/x.png" onerror="alert(1)">' + "long_" * 30


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    processor = made_up.on_a_processor()
    return {
        "whole": profile_page(processor, bundle_of(folder / "whole")),
        "gpu": profile_page(made_up.on_a_gpu(), None),
        "bundle": profile_page(None, bundle_of(folder / "bundle")),
        "hostile": report_page([made_up.profile(made_up.row(HOSTILE))], None),
    }


@pytest.fixture(scope="module", params=browser.SCHEMES)
def shown(request, pages, tmp_path_factory):
    facts, console = browser.look(pages, request.param, tmp_path_factory.mktemp(request.param))
    return request.param, facts, console


def test_every_page_is_readable_on_a_telephone_and_on_a_desktop(shown):
    scheme, facts, _ = shown
    assert len(facts) == 8
    for fact in facts.values():
        browser.check_readable(fact, scheme)


def test_no_chart_is_shown_smaller_than_it_was_drawn(shown):
    _, facts, _ = shown
    images = [image for fact in facts.values() for image in fact["images"]]
    assert len(images) > 10
    for image in images:
        assert image["shown"] >= image["drawn"] - 1


def test_the_browser_has_nothing_to_complain_of(shown):
    _, _, console = shown
    assert console == []


def test_what_breaks_the_policy_would_be_seen(tmp_path):
    page = profile_page(None, bundle_of(tmp_path / "bundle"))
    foreign = '<picture><source><img src="http://example.invalid/x.png"></picture>'
    broken = page.replace("<main>", f"<main>{foreign}")
    assert broken != page
    _, console = browser.look({"broken": broken}, "light", tmp_path)
    assert any("Content Security Policy" in line for line in console)
