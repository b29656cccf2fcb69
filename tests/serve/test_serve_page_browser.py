"""The page in a real browser, with a real server behind it."""

import json
import shutil
import subprocess
from dataclasses import replace

import browser
import devtools
import image_service as served
import numpy as np
import pytest
from PIL import Image

from nd_deploy.serve.settings import Settings

pytestmark = pytest.mark.skipif(browser.find() is None, reason=browser.MISSING)

SETTINGS = replace(Settings(), image_bytes=50_000)
TOKEN = "open sesame"
NAME = "it's a 'cat' $HOME.png"
LONG = "resnet18-nd-" + "with_a_very_long_name_" * 4
SERVICE = served.LinearModels(served.spec(), served.spec(LONG, labels=()), scale=0.2)

ROWS = """[...document.querySelectorAll('#classes li')].map(item => [
    item.querySelector('.label').textContent, item.querySelector('.share').textContent,
    item.querySelector('.bar span').getBoundingClientRect().width
        / item.querySelector('.bar').getBoundingClientRect().width])"""
ANSWERED = "document.querySelectorAll('#classes[aria-busy=false] li').length"
PROBLEM = "document.querySelector('#problem').textContent"
LINE = "document.querySelector('#curl').textContent"


@pytest.fixture(scope="module")
def address():
    with served.serving(SERVICE, SETTINGS) as running:
        yield url_of(running)


def url_of(running):
    host, port = running.address
    return f"http://{host}:{port}/"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with devtools.opened(tmp_path_factory.mktemp("profile")) as tab:
        tab.show_as(1280, 800, "light")
        yield tab


@pytest.fixture
def page(tab, address):
    """The page, loaded anew."""
    tab.said.clear()
    tab.requested.clear()
    tab.open(address)
    tab.until("document.querySelector('#model').options.length === 2")
    return tab


@pytest.fixture
def image(tmp_path):
    served.picture((40, 30)).save(tmp_path / NAME)
    return tmp_path / NAME


def by_numpy(path, model="pets"):
    """Labels and probabilities, the likeliest first."""
    resized = Image.open(path).resize((6, 4), Image.Resampling.BILINEAR)
    flat = (np.asarray(resized) / 255).transpose(2, 0, 1).reshape(-1)
    powers = np.exp(flat @ SERVICE.weight(model))
    shares = powers / powers.sum()
    labels = SERVICE.specs[model].labels or [str(index) for index in range(6)]
    return sorted(zip(labels, shares, strict=True), key=lambda each: -each[1])


def check_rows(page, expected):
    rows = page.evaluate(ROWS)
    assert [label for label, _, _ in rows] == [label for label, _ in expected]
    for (_, shown, width), (_, share) in zip(rows, expected, strict=True):
        assert shown == (f"{100 * share:.1f}%" if share >= 0.001 else "< 0.1%")
        assert width == pytest.approx(share, abs=0.01)


def change(page, selector, value):
    page.evaluate(
        f"""(() => {{ const it = document.querySelector('{selector}'); it.value = '{value}';
        it.dispatchEvent(new Event('change')); }})()"""
    )


def test_a_chosen_image_is_shown_with_its_classes(page, image, address):
    page.choose("#file", image)
    page.until(f"{ANSWERED} === 5")
    check_rows(page, by_numpy(image)[:5])
    page.until("document.querySelector('#preview').naturalWidth === 40")
    assert "40 \u00d7 30" in page.evaluate("document.querySelector('#file-note').textContent")
    assert page.said == []
    assert all(url.startswith((address, f"blob:{address}")) for url in page.requested)


def test_a_dropped_image_is_taken_wherever_it_falls(page, image):
    page.drop(image, 1000, 600)
    page.until(f"{ANSWERED} === 5")
    check_rows(page, by_numpy(image)[:5])
    assert not page.evaluate("document.body.classList.contains('dragging')")
    assert page.said == []


def test_a_pasted_image_is_taken(page, image):
    page.evaluate(
        """new Promise(done => {
            const canvas = document.createElement('canvas');
            canvas.toBlob(blob => {
                const clipboardData = new DataTransfer();
                clipboardData.items.add(new File([blob], 'pasted.png', {type: 'image/png'}));
                document.dispatchEvent(new ClipboardEvent('paste', {clipboardData}));
                done();
            });
        })"""
    )
    page.until(f"{ANSWERED} === 5")
    assert "@pasted.png" in page.evaluate(LINE)


def test_another_model_or_number_of_classes_is_asked_at_once(page, image):
    page.choose("#file", image)
    page.until(f"{ANSWERED} === 5")
    change(page, "#top-k", 3)
    page.until(f"{ANSWERED} === 3")
    change(page, "#model", LONG)
    page.until("document.querySelector('#classes[aria-busy=false] .label')?.textContent < 'a'")
    check_rows(page, by_numpy(image, LONG)[:3])


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on the PATH")
def test_the_line_for_a_terminal_gives_what_the_page_shows(page, image):
    page.choose("#file", image)
    page.until(f"{ANSWERED} === 5")
    line = page.evaluate(LINE)
    done = subprocess.run(
        ["sh", "-c", f"{line} --silent"], cwd=image.parent, capture_output=True, check=True
    )
    labels = [each["label"] for each in json.loads(done.stdout)["predictions"]]
    assert labels == [label for label, _, _ in page.evaluate(ROWS)]


def test_the_line_is_copied_or_marked_for_copying(page):
    page.evaluate("document.querySelector('#copy').click()")
    page.until("document.querySelector('#copied').textContent")
    assert page.evaluate("getSelection().toString()") in ("", page.evaluate(LINE))


def test_a_form_made_by_a_browser_is_answered_like_the_bare_file(page, image):
    page.choose("#file", image)
    page.until(f"{ANSWERED} === 5")
    same = page.evaluate(
        """(async () => {
            const file = document.querySelector('#file').files[0], form = new FormData();
            form.append('image', file);
            const answers = [file, form].map(body =>
                fetch('v1/models/pets/classify', {method: 'POST', body}).then(it => it.text()));
            const [bare, inForm] = await Promise.all(answers);
            return bare === inForm && bare.includes('predictions');
        })()"""
    )
    assert same


def test_what_goes_wrong_is_said_in_words(page, image, tmp_path):
    (tmp_path / "text.png").write_text("text")
    page.choose("#file", tmp_path / "text.png")
    page.until(f"{PROBLEM}.includes('no JPEG, PNG, WebP or BMP')")
    assert page.evaluate("document.querySelector('#preview').hidden")
    (tmp_path / "large.png").write_bytes(bytes(60_000))
    page.choose("#file", tmp_path / "large.png")
    page.until(f"{PROBLEM}.includes('large.png has 60 kB')")
    page.choose("#file", image)
    page.until(f"{ANSWERED} === 5 && document.querySelector('#problem').hidden")
    SERVICE.specs["pets"] = served.spec(preprocessing=None)
    change(page, "#top-k", 1)
    page.until(f"{PROBLEM}.includes('reads no image')")
    SERVICE.specs["pets"] = served.spec()
    page.send("Network.emulateNetworkConditions", **OFFLINE, offline=True)
    change(page, "#top-k", 3)
    page.until(f"{PROBLEM}.includes('does not answer')")
    page.send("Network.emulateNetworkConditions", **OFFLINE, offline=False)
    assert page.evaluate(f"{ANSWERED}") == 0


OFFLINE = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}


def test_the_token_is_asked_for_and_kept_in_memory_only(tab, image):
    with served.serving(SERVICE, replace(SETTINGS, token=TOKEN)) as running:
        address = url_of(running)
        tab.open(address)
        tab.until("document.activeElement.id === 'token'")
        give = "document.querySelector('#token').value = '{}';"
        give += "document.querySelector('#token-form').requestSubmit()"
        tab.evaluate(give.format("wrong"))
        tab.until(f"{PROBLEM}.includes('does not take this token')")
        tab.evaluate(give.format(TOKEN))
        tab.until("document.querySelector('#token-form').hidden")
        tab.choose("#file", image)
        tab.until(f"{ANSWERED} === 5")
        kept = "[document.cookie, localStorage.length, sessionStorage.length, location.href]"
        assert tab.evaluate(kept) == ["", 0, 0, address]
        assert "Bearer $TOKEN" in tab.evaluate(LINE)
        assert TOKEN not in tab.evaluate("document.documentElement.outerHTML")
        tab.open(address)
        tab.until("!document.querySelector('#token-form').hidden")
        tab.open("about:blank")


def test_the_page_is_used_by_the_keyboard_in_order(page):
    visited = []
    for _ in range(5):
        page.press_tab()
        visited.append(page.evaluate("document.activeElement.id"))
        ring = "getComputedStyle(document.activeElement.closest('label.drop') ??"
        assert page.evaluate(f"{ring} document.activeElement).outlineStyle") == "solid"
    assert visited == ["file", "model", "top-k", "curl", "copy"]


def test_a_screen_reader_is_told_of_everything(page, image):
    page.choose("#file", image)
    page.until(f"{ANSWERED} === 5")
    page.until("document.querySelector('#preview').complete")
    page.send("Accessibility.enable")
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]
    roles = [role for role, _ in named]
    assert ("image", f"The image {NAME}") in named
    assert {"main", "banner", "heading", "status"} <= set(roles)
    assert roles.count("listitem") == 5
    for role, name in named:
        if role in ("button", "combobox", "textbox", "region", "list"):
            assert name, role
    first, share, _ = page.evaluate(ROWS)[0]
    status = page.evaluate("document.querySelector('[role=status]').textContent")
    assert f"{first}, {share}." in status


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [browser.PHONE, browser.DESKTOP])
def test_the_page_is_readable_on_a_telephone_and_on_a_desktop(page, image, scheme, width):
    page.show_as(width, 800, scheme, phone=width == browser.PHONE)
    page.choose("#file", image)
    change(page, "#model", LONG)
    page.until(f"{ANSWERED} === 5")
    # What is hidden is to be read as well, once it is shown.
    page.evaluate(
        f"""document.querySelectorAll('[hidden]').forEach(each => {{ each.hidden = false; }});
        document.querySelector('#problem').textContent = '{"long_" * 40}';"""
    )
    page.evaluate(browser._SCRIPT)
    facts = page.evaluate(
        """(() => {
            const seen = texts(document, window), root = document.documentElement;
            const behindAll = channels(getComputedStyle(document.body).backgroundColor).rgb;
            return {viewport: root.clientWidth, content: root.scrollWidth,
                dark: luminance(behindAll) < 0.5,
                faintest: seen.reduce((a, b) => a.contrast < b.contrast ? a : b),
                smallest: seen.reduce((a, b) => a.size < b.size ? a : b)};
        })()"""
    )
    assert facts["viewport"] == width
    assert facts["content"] <= width
    assert facts["faintest"]["contrast"] >= 4.5, facts["faintest"]
    assert facts["smallest"]["size"] >= 12, facts["smallest"]
    assert facts["dark"] == (scheme == "dark")


def test_what_breaks_the_policy_would_be_seen(page):
    page.evaluate(
        """new Promise(done => {
            document.addEventListener('securitypolicyviolation', done, {once: true});
            const image = new Image();
            image.src = 'http://example.invalid/x.png';
        })"""
    )
    assert any("Content Security Policy" in line for line in page.said)
