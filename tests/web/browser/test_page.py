"""The page in a real browser: images go in, labels, maps and models are looked at."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt


def test_uploaded_image_shows_what_the_model_says(tab, fake, first):
    path, pixels = first
    tab.load(path)
    expected = fake.mask_of(pixels, "alpha")
    np.testing.assert_array_equal(tab.mask(), expected)
    assert f"{expected.sum():,} px" in tab.text("#figures")
    answer = fake.answer_to(pixels, "alpha", {})
    assert f"{answer['label']['benign']:.3f}" in tab.text("#labels")
    assert "For research only, not for diagnosis." in tab.text(".notice")
    assert "lesion0.png" in tab.page.locator("#first .overlay").get_attribute("aria-label")
    live = tab.page.locator("#live")
    live.get_by_text(f"mask of {expected.sum():,} pixels").wait_for(state="attached")


def test_space_moves_the_image_instead_of_drawing(tab, first):
    tab.load(first[0])
    before, view = tab.mask(), tab.state("({...viewer.view})")
    tab.page.click("[data-tool=brush]")
    tab.page.mouse.move(*tab.point(60, 40))
    tab.page.keyboard.down("Space")
    tab.draw((60, 40), (50, 40))
    tab.page.keyboard.up("Space")
    np.testing.assert_array_equal(tab.mask(), before)
    moved = tab.state("({...viewer.view})")
    assert moved["x"] == pytest.approx(view["x"] - 10 * view["scale"], abs=1)
    assert moved["scale"] == view["scale"]


def test_wheel_zooms_around_the_pointer(tab, first):
    tab.load(first[0])
    at = [round(side) for side in tab.point(30, 20)]  # events of the wheel come at whole pixels
    start = tab.point(0, 0)
    tab.page.mouse.move(*at)
    before = tab.state("viewer.view.scale")
    tab.page.mouse.wheel(0, -400)
    tab.page.wait_for_timeout(100)
    x, y = ((at[i] - start[i]) / before for i in (0, 1))
    assert tab.state("viewer.view.scale") > 1.5 * before
    assert tab.point(x, y) == pytest.approx(at, abs=0.01)
    scale = tab.state("viewer.view.scale")
    tab.page.keyboard.press("0")
    assert tab.state("viewer.view.scale") < scale


def test_keys_step_through_the_list_in_its_order(tab, pictures):
    tab.load(*(path for path, _ in pictures.values()))
    current = tab.page.locator("#items [aria-current] .name")
    seen = [current.inner_text()]
    for key in ("n", "ArrowRight", "n", "n", "p"):
        tab.page.keyboard.press(key)
        seen.append(current.inner_text())
    assert seen == [f"lesion{i}.png" for i in (0, 1, 2, 3, 3, 2)]
    tab.page.select_option("#order", "look")
    looks = tab.page.locator("#items .look").all_inner_texts()
    assert looks == sorted(looks, reverse=True)
    assert len(set(looks)) > 1
    tab.page.focus("#author")
    tab.page.keyboard.type("n")  # typing is not stepping
    assert current.inner_text() == "lesion2.png"


def test_two_models_side_by_side(tab, fake, first):
    path, pixels = first
    tab.load(path)
    tab.page.keyboard.press("c")
    tab.page.get_by_text("Dice of both").wait_for()
    a, b = fake.mask_of(pixels, "alpha"), fake.mask_of(pixels, "beta")
    assert (a != b).any()
    expected = 2 * (a & b).sum() / (a.sum() + b.sum())
    assert f"{expected:.4f}" in tab.text("#figures")
    assert f"{b.sum():,} px" in tab.text("#other .caption")
    # Where only the second has lesion, away from any outline, both panes show its colour.
    inner = distance_transform_edt(b > a)
    row, column = np.unravel_index(inner.argmax(), inner.shape)
    scale, left, top = tab.state("[viewer.view.scale, viewer.view.x, viewer.view.y]")
    at = int(top + scale * (row + 0.5)), int(left + scale * (column + 0.5))
    for pane in (0, 1):
        red, _, blue, alpha = map(int, tab.overlay(pane)[at])
        assert blue > red
        assert alpha > 100
    tab.page.select_option("#second", "")
    tab.page.locator("#other").wait_for(state="hidden")


def test_maps_are_asked_for_when_they_are_shown(tab, service, first):
    tab.load(first[0])
    assert service.predictions[-1]["explain"] == "none"
    before = tab.overlay()
    tab.page.select_option("#map", "explanation")
    tab.page.get_by_text("Activation map of the label (clnet)").wait_for()
    tab.settle()
    assert service.predictions[-1]["explain"] == "clnet"
    shown = tab.overlay()
    assert (shown != before).any()
    tab.slide("#opacity", 10)
    tab.settle()
    assert (tab.overlay() != shown).any()
    tab.page.select_option("#map", "uncertainty")
    tab.page.get_by_text("Uncertainty: entropy").wait_for()
    tab.settle()
    assert service.predictions[-1]["uncertainty"] == "true"
    tab.page.keyboard.press("h")
    tab.settle()
    assert not tab.overlay().any()


def test_spacing_gives_millimetres(tab, fake, first, service):
    path, pixels = first
    tab.load(path)
    tab.page.fill("#spacing", "0.5, 0.25")
    tab.page.keyboard.press("Tab")
    area = fake.mask_of(pixels, "alpha").sum() * 0.5 * 0.25
    tab.page.locator("#measured").get_by_text(f"{float(f'{area:.3g}'):g} mm²").wait_for()
    assert service.predictions[-1]["spacing"] == "0.5,0.25"
    tab.page.fill("#spacing", "-1")
    tab.page.keyboard.press("Tab")
    assert "one or two numbers of millimetres" in tab.text("#complaint")


def test_failing_server_is_said_and_can_be_tried_again(tab, service, first):
    service.failing = "predict"
    tab.page.set_input_files("#files", str(first[0]))
    message = "The disk of the server is full; make room."
    tab.page.locator("#state").get_by_text(message).wait_for()
    tab.page.locator("#live").get_by_text(f"lesion0.png: {message}").wait_for(state="attached")
    tab.settle()
    assert tab.page.locator("#first .overlay").get_attribute("aria-label") == "lesion0.png"
    assert "1 failed" in tab.text("#progress")
    assert tab.complaints.pop().endswith("507 (Insufficient Storage)")
    service.failing = None
    tab.page.click("#retry")
    tab.page.get_by_text("1 of 1 predicted").wait_for()
    tab.page.locator("#state").wait_for(state="hidden")


def test_busy_server_is_asked_again(tab, service, first):
    service.refuse_once = "predict"
    tab.load(first[0])
    assert len(service.predictions) == 1
    assert "503" in tab.complaints.pop()


def test_damaged_file_does_not_hold_up_the_others(tab, first, tmp_path):
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"no picture")
    tab.page.set_input_files("#files", [str(damaged), str(first[0])])
    tab.page.get_by_text("1 of 2 predicted, 1 failed").wait_for()
    tab.page.locator("#state").get_by_text("The file is not a picture; send another.").wait_for()
    tab.page.keyboard.press("n")
    tab.settle()
    assert tab.mask().any()
    assert len(tab.complaints) >= 1
    assert all("415" in one or "404" in one for one in tab.complaints)
    tab.complaints.clear()


def test_dropped_files_and_folders_are_taken(tab, first, tmp_path):
    tab.page.evaluate(
        """(bytes) => {
            const file = new File([Uint8Array.from(bytes)], "dropped.png", { type: "image/png" });
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(file);
            const options = { dataTransfer, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new DragEvent("drop", options));
        }""",
        list(first[0].read_bytes()),
    )
    tab.page.get_by_text("1 of 1 predicted").wait_for()
    (tmp_path / "study" / "deep").mkdir(parents=True)
    for name in ("study/b10.png", "study/b9.png", "study/deep/c.png"):
        (tmp_path / name).write_bytes(first[0].read_bytes())
    (tmp_path / "study" / "notes.txt").write_text("no image")
    tab.page.set_input_files("#folder", str(tmp_path / "study"))
    tab.page.get_by_text("4 of 4 predicted").wait_for()
    names = tab.page.locator("#items .name").all_inner_texts()
    assert names == ["dropped.png", "b9.png", "b10.png", "c.png"]


def test_token_is_asked_for_once(tab, service, first):
    service.token = "a-long-enough-token"
    tab.page.reload()
    tab.page.locator("#token-value").fill(service.token)
    tab.page.keyboard.press("Enter")
    tab.page.locator("#model option").first.wait_for(state="attached")
    tab.load(first[0])
    assert tab.page.locator("#token").is_hidden()
    assert "401" in tab.complaints.pop()


def test_a_zoomed_image_is_moved_by_keys(tab, first):
    tab.load(first[0])
    tab.page.keyboard.press("+")
    before = tab.state("({...viewer.view})")
    tab.page.keyboard.press("Shift+ArrowRight")
    tab.page.keyboard.press("Shift+ArrowDown")
    after = tab.state("({...viewer.view})")
    assert after["x"] < before["x"]
    assert after["y"] < before["y"]
    tab.page.keyboard.press("Shift+ArrowLeft")
    tab.page.keyboard.press("Shift+ArrowUp")
    assert tab.state("({...viewer.view})") == pytest.approx(before)


def test_keys_of_a_single_character_can_be_turned_off_for_good(tab, pictures):
    tab.page.click("#help-button")
    tab.page.uncheck("#single-keys")
    tab.page.reload()
    tab.page.locator("#model option").first.wait_for(state="attached")
    tab.load(*[path for path, _ in pictures.values()][:2])
    for key in ("b", "n", "?", "m"):
        tab.page.keyboard.press(key)
    assert tab.state("viewer.tool") == "pan"
    assert tab.page.locator("#help").is_hidden()
    assert tab.page.locator("#map").input_value() == "none"
    current = tab.page.locator("#items [aria-current] .name")
    assert current.inner_text() == "lesion0.png"
    tab.page.keyboard.press("ArrowRight")
    assert current.inner_text() == "lesion1.png"
