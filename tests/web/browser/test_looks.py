"""How the page is made: readable, reachable by keyboard, of our own files alone."""

import re

import pytest


def page_files(fake):
    return sorted(path for path in fake.PAGE.iterdir() if path.is_file())


def test_files_are_short_and_ask_for_nothing_from_outside(fake):
    files = page_files(fake)
    assert {path.suffix for path in files} == {".html", ".css", ".js", ".svg"}
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") < 400, path.name
        text = text.replace('"http://www.w3.org/2000/svg"', "")  # the name of a format, never fetched
        outside = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)
        assert outside == [], path.name
        assert "console." not in text, path.name
        assert "innerHTML" not in text, path.name  # names of files and labels are text, never markup


def test_html_holds_no_script_and_no_style(fake):
    html = (fake.PAGE / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", html) == []
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'\bfor="([^"]+)"', html):
        assert target in ids
    names = {path.name for path in page_files(fake)}
    used = set(re.findall(r'(?:src|href)="([\w.]+)"', html))
    for path in page_files(fake):
        used |= set(re.findall(r'from "\./([\w.]+)"', path.read_text(encoding="utf-8")))
    assert used | {"index.html"} == names


def test_every_control_has_a_name(tab, first):
    tab.load(first[0])
    nameless = tab.page.evaluate(
        """() => [...document.querySelectorAll("button, select, input:not([hidden])")].filter((one) =>
            !(one.getAttribute("aria-label") || one.labels?.length || one.textContent.trim())
        ).map((one) => one.outerHTML)"""
    )
    assert nameless == []


def luminance(colour):
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(tab, first, scheme):
    """WCAG 2.2, success criterion 1.4.3, level AA: 4.5 : 1 for text."""
    tab.page.emulate_media(color_scheme=scheme)
    tab.load(first[0])
    tab.page.keyboard.press("b")
    tab.draw((10, 10), (20, 20))
    tab.settle()
    tab.page.wait_for_timeout(200)  # colours of buttons change over a short time
    pairs = tab.page.evaluate(
        """() => {
            const parse = (text) => text.match(/[\\d.]+/g).map(Number);
            const behind = (one) => {
                for (; one; one = one.parentElement) {
                    const colour = parse(getComputedStyle(one).backgroundColor);
                    if (colour.length < 4 || colour[3] === 1) return colour;
                    if (colour[3] > 0) return null; // see-through: looked at by eye
                }
                return [255, 255, 255];
            };
            const words = [...document.querySelectorAll("body *")].filter((one) =>
                one.checkVisibility() && !one.disabled && !one.closest("#stage") &&
                [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
            const colours = (one) => [parse(getComputedStyle(one).color), behind(one)];
            return words.map((one) => [one.textContent.trim().slice(0, 30), ...colours(one)])
                .filter(([, , back]) => back);
        }"""
    )
    assert len(pairs) > 30
    assert [(words, round(contrast(a, b), 2)) for words, a, b in pairs if contrast(a, b) < 4.5] == []


def test_narrow_screen_needs_no_sideways_scrolling(tab, first):
    tab.page.set_viewport_size({"width": 400, "height": 800})
    tab.load(first[0])
    tab.page.keyboard.press("c")
    tab.settle()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 400
    stage = tab.page.locator("#first").bounding_box()
    assert stage["width"] > 350
    assert stage["height"] > 250


def test_keys_alone_reach_every_control(tab, first):
    tab.load(first[0])
    tab.page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(80):
        tab.page.keyboard.press("Tab")
        name = tab.page.evaluate("document.activeElement.id || document.activeElement.dataset.tool || ''")
        if name in reached and name == "model":
            break
        reached.add(name)
    assert {"model", "brush", "size", "holes", "zoom-in", "threshold", "map", "save", "spacing"} <= reached


def test_help_names_the_keys(tab):
    tab.page.keyboard.press("?")
    words = tab.text("#help")
    assert "next image" in words
    assert "undo" in words
    tab.page.keyboard.press("Escape")
    assert tab.page.locator("#help").is_hidden()
