"""Measurements of the mask on show, corrected or not; what is known about the model."""

import numpy as np
from PIL import Image


def open_regions(tab):
    tab.page.locator("#lesions summary").click()
    tab.page.locator("#lesions").scroll_into_view_if_needed()


def test_a_corrected_mask_is_measured_anew_where_somebody_looks(tab, service, first, read_png):
    tab.load(first[0])
    tab.page.keyboard.press("b")
    tab.draw((10, 10), (30, 70))
    assert tab.text("#lesions summary") == "Regions of the corrected mask"
    tab.page.wait_for_timeout(900)
    assert service.measured == []  # nobody looks
    service.may_measure.clear()
    open_regions(tab)
    tab.page.get_by_text("Measuring the corrected mask …; the figures below are from before").wait_for()
    service.may_measure.set()
    tab.page.get_by_text("Regions of the corrected mask (1)").wait_for()
    [(query, parts)] = service.measured
    assert query == {"model": "alpha"}
    assert parts["file"] == first[0].read_bytes()
    mask = tab.mask()
    np.testing.assert_array_equal(read_png(parts["mask"]), mask * 255)
    assert f"{mask.sum():,} px" in tab.text("#lesions .scroll")

    tab.page.keyboard.press("Control+z")  # back to the model's own, which needs no request
    assert tab.text("#lesions summary") == "Regions that the model found (1)"
    assert tab.page.locator("#lesions td").first.inner_text() == "12"  # as the prediction's answer said
    tab.page.keyboard.press("Control+Shift+z")
    tab.draw((60, 10), (70, 12))
    tab.draw((60, 20), (70, 22))  # before the first was sent
    tab.page.get_by_text("Regions of the corrected mask (1)").wait_for()
    assert f"{tab.mask().sum():,} px" in tab.text("#lesions .scroll")
    assert len(service.measured) == 2
    tab.page.fill("#spacing", "0.5")
    tab.page.keyboard.press("Tab")
    tab.page.wait_for_function("document.querySelector('#measuring').hidden === false")
    tab.page.get_by_text("Regions of the corrected mask (1)").wait_for()
    assert service.measured[-1][0] == {"model": "alpha", "spacing": "0.5,0.5"}


def test_a_failed_measurement_says_so_and_can_be_tried_again(tab, service, first):
    tab.load(first[0])
    service.failing = "measure"
    open_regions(tab)
    tab.page.keyboard.press("b")
    tab.draw((10, 10), (30, 70))
    told = "The corrected mask could not be measured: The disk of the server is full; make room."
    tab.page.get_by_text(told).wait_for()
    assert tab.page.locator("#lesions table").count() == 0  # not the model's figures under its name
    assert tab.complaints.pop().endswith("507 (Insufficient Storage)")
    service.failing = None
    tab.page.click("#measure-again")
    tab.page.get_by_text("Regions of the corrected mask (1)").wait_for()
    assert tab.page.locator("#measuring").is_hidden()


def test_the_card_of_the_model_is_a_click_away(tab):
    about = tab.page.locator("#about")
    assert not about.get_by_text("clnet.isic2017").is_visible()
    about.locator("summary").click()
    words = about.inner_text()
    for fact in ("clnet, encoder resnet18", "clnet.isic2017", "2,000 train, 150 val", "1 Mar 2026", "0.746"):
        assert fact in words
    assert "For research only, not for diagnosis." in words
    tab.page.select_option("#second", "beta")
    assert about.locator("summary").inner_text() == "About these models"
    assert about.locator("h3").all_inner_texts() == ["alpha", "beta"]


def volume(path, count=5):
    """A TIFF of several pages, each with its own number of dark pixels."""
    pages = []
    for page in range(count):
        grey = np.full((40, 50), 200, np.uint8)
        grey[10 : 12 + 3 * page, 5:25] = 30
        pages.append(Image.fromarray(grey))
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return [20 * (2 + 3 * page) for page in range(count)]


def test_slices_of_a_volume_are_stepped_through(tab, service, tmp_path, read_png):
    path = tmp_path / "volume.tif"
    areas = volume(path)
    tab.page.set_input_files("#files", str(path))
    tab.page.get_by_text("1 of 1 predicted").wait_for()
    tab.settle()

    def at(slice, seen=False):
        tab.page.get_by_text(f"{areas[slice]:,} px, ").first.wait_for()
        assert tab.page.locator("#slice").input_value() == str(slice)
        assert tab.state("[viewer.picture.width, viewer.picture.height]") == [50, 40]
        assert seen or service.predictions[-1]["slice"] == str(slice)

    at(2)  # the middle one first
    assert tab.text("#slice-last") == "of 0 to 4"
    tab.page.keyboard.press("]")
    at(3)
    tab.page.click("#slice-forth")
    at(4)
    assert tab.page.locator("#slice-forth").is_disabled()
    tab.page.fill("#slice", "1")
    tab.page.keyboard.press("Enter")
    at(1)
    tab.page.keyboard.press("[")
    at(0)
    tab.page.fill("#slice", "9")
    tab.page.keyboard.press("Enter")
    assert "The slice is a whole number from 0 to 4." in tab.text("#complaint")
    assert tab.page.locator("#slice").input_value() == "0"
    tab.page.evaluate("document.activeElement.blur()")

    # A stroke stays with its slice, and is said not to be stored.
    tab.page.keyboard.press("b")
    tab.draw((40, 30), (45, 35))
    drawn = tab.mask()
    assert drawn.sum() > areas[0]
    assert "Corrections of single slices are not stored on the server" in tab.text("#not-stored")
    assert tab.page.locator("#save").is_hidden()
    tab.page.keyboard.press("Control+s")
    assert "not stored on the server; download the mask or the DICOM SEG" in tab.text("#complaint")
    assert service.corrections == []
    size = tab.text("#size-value")
    tab.page.keyboard.press("]")
    at(1, seen=True)
    assert tab.text("#size-value") == size
    tab.page.keyboard.press("[")
    tab.page.get_by_text(f"{drawn.sum():,} px, ").first.wait_for()
    np.testing.assert_array_equal(tab.mask(), drawn)

    tab.page.fill("#author", "A. Reader")
    with tab.page.expect_download() as waiting:
        tab.page.click("[data-download=png]")
    assert waiting.value.suggested_filename == "volume_s000_mask.png"
    tab.download("[data-download=dicom]")
    assert service.asked_segmentations[-1]["slice"] == "0"
    np.testing.assert_array_equal(read_png(service.segmentations[-1]["mask"]), drawn * 255)
    open_regions(tab)
    tab.page.get_by_text("Regions of the corrected mask (1)").wait_for()
    assert service.measured[-1][0] == {"model": "alpha", "slice": "0"}
    assert all("422" in one for one in tab.complaints)  # the server says that it needs a slice
    tab.complaints.clear()


def test_brackets_change_the_brush_where_there_are_no_slices(tab, first):
    tab.load(first[0])
    assert tab.page.locator("#slices").is_hidden()
    sizes = [tab.text("#size-value")]
    for key in ("]", ".", "[", ","):
        tab.page.keyboard.press(key)
        sizes.append(tab.text("#size-value"))
    numbers = [int(size.split()[0]) for size in sizes]
    assert numbers[0] < numbers[1] < numbers[2]
    assert numbers[::-1] == numbers
