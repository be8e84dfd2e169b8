"""Corrections and files in a real browser: what leaves the page is what is on show."""

import base64
import json

import numpy as np


def test_downloads_hold_what_is_on_show(tab, fake, first, read_png):
    path, pixels = first
    tab.load(path)
    tab.page.keyboard.press("b")
    tab.draw((10, 10), (60, 80))
    mask = tab.mask()
    written = read_png(tab.download("[data-download=png]"))
    np.testing.assert_array_equal(written, mask * 255)

    facts = json.loads(tab.download("[data-download=json]"))
    assert facts["corrected"] is True
    assert facts["mask"][0]["pixels"] == mask.sum()
    assert facts["identity"] == "alpha 0123456789ab torch none"
    assert facts["research_only"] == "For research only, not for diagnosis."

    outlines = json.loads(tab.download("[data-download=geojson]"))
    np.testing.assert_array_equal(rasterise(outlines["features"], mask.shape), mask == 1)


def rasterise(features, shape):
    """Fill polygons by the even-odd rule at pixel centres: bool (H, W)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside = np.zeros(shape, bool)
    for feature in features:
        odd = np.zeros(shape, bool)
        for ring in feature["geometry"]["coordinates"]:
            assert ring[0] == ring[-1]
            for (ax, ay), (_, by) in zip(ring, ring[1:], strict=False):
                if ay != by:  # all sides are straight up, down, left or right
                    odd ^= ((ay > rows) != (by > rows)) & (columns < ax)
        assert not (inside & odd).any()
        inside |= odd
    return inside


def test_outlines_of_any_mask_give_it_back(tab):
    rng = np.random.default_rng(5)
    for share in (0.15, 0.5, 0.85):
        mask = (rng.random((23, 31)) < share).astype(np.uint8)
        polygons = tab.page.evaluate(
            """async ([values, width, height]) =>
                (await import("/geometry.js")).polygonsOf(Uint8Array.from(values), width, height, 1)""",
            [mask.ravel().tolist(), mask.shape[1], mask.shape[0]],
        )
        features = [{"geometry": {"coordinates": rings}} for rings in polygons]
        np.testing.assert_array_equal(rasterise(features, mask.shape), mask == 1)


def test_dicom_segmentation_is_made_of_the_file_and_the_mask(tab, service, first, read_png):
    path, _ = first
    tab.load(path)
    tab.page.keyboard.press("e")
    tab.draw((64, 48), (80, 48))
    assert tab.download("[data-download=dicom]") == b"zip"
    [parts] = service.segmentations
    assert parts["file"] == path.read_bytes()
    np.testing.assert_array_equal(read_png(parts["mask"]), tab.mask() * 255)


def test_dicom_segmentation_says_who_changed_it_and_whether(tab, service, first):
    tab.load(first[0])
    tab.page.fill("#author", "A. Reader")
    tab.download("[data-download=dicom]")
    tab.page.keyboard.press("b")
    tab.draw((10, 10), (30, 30))
    tab.download("[data-download=dicom]")
    tab.page.keyboard.press("Control+z")
    tab.download("[data-download=dicom]")
    tab.slide("#threshold", 0.3)
    tab.download("[data-download=dicom]")
    by_reader = {"model": "alpha", "corrected": "true", "author": "A. Reader"}
    by_model = {"model": "alpha", "corrected": "false"}
    assert service.asked_segmentations == [by_model, by_reader, by_model, by_reader]


def save(tab, author="A. Reader"):
    tab.page.fill("#author", author)
    tab.page.keyboard.press("Control+s")


def test_saved_correction_reaches_the_server_whole(tab, fake, service, first, read_png):
    path, pixels = first
    tab.load(path)
    tab.page.keyboard.press("b")
    tab.draw((10, 10), (30, 70))
    assert tab.text("#saved") == "Not saved"
    tab.page.select_option("#label", "malignant")
    tab.page.fill("#comment", "two lesions")
    save(tab)
    tab.page.get_by_text("Saved as c1").wait_for()
    [stored] = service.corrections
    assert base64.b64decode(stored["image"]) == path.read_bytes()
    np.testing.assert_array_equal(read_png(base64.b64decode(stored["mask_png"])), tab.mask() * 255)
    np.testing.assert_array_equal(
        read_png(base64.b64decode(stored["predicted_mask_png"])), fake.mask_of(pixels, "alpha") * 255
    )
    told = {key: stored[key] for key in ("filename", "model", "identity", "label", "author", "comment")}
    assert told == {
        "filename": "lesion0.png",
        "model": "alpha",
        "identity": "alpha 0123456789ab torch none",
        "label": "malignant",
        "author": "A. Reader",
        "comment": "two lesions",
    }
    assert stored["seconds"] >= 0
    tab.draw((40, 10), (50, 20))
    assert tab.text("#saved") == "Not saved"
    tab.page.click("#stored")
    tab.page.locator("#corrections").get_by_text("lesion0.png").wait_for()


def test_correction_that_the_server_refuses_is_kept_and_sent_later(tab, service, first):
    tab.load(first[0])
    service.failing = "corrections"
    tab.page.keyboard.press("b")
    tab.draw((10, 10), (30, 70))
    mask = tab.mask()
    save(tab)
    tab.page.get_by_text("Not sent: kept in this browser").wait_for()
    assert "The disk of the server is full; make room." in tab.text("#complaint")
    assert tab.complaints.pop().endswith("507 (Insufficient Storage)")
    tab.page.close()

    service.failing = None
    tab.page = tab.open()
    assert tab.page.locator("#author").input_value() == "A. Reader"
    tab.page.get_by_text("1 correction is kept in this browser").wait_for()
    tab.page.click("#send-again")
    tab.page.locator("#outbox").wait_for(state="hidden")
    [stored] = service.corrections
    assert base64.b64decode(stored["image"]) == first[0].read_bytes()
    assert stored["filename"] == "lesion0.png"
    assert mask.any()


def test_a_correction_without_an_author_is_not_sent(tab, service, first):
    tab.load(first[0])
    tab.page.click("#save")
    assert "fill in the author first" in tab.text("#complaint")
    assert service.corrections == []


def test_leaving_with_an_unsaved_correction_asks_first(tab, first):
    tab.load(first[0])
    tab.page.keyboard.press("b")
    tab.draw((10, 10), (30, 70))
    asked = []
    tab.page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    with tab.page.expect_event("close"):
        tab.page.close(run_before_unload=True)
    assert asked == ["beforeunload"]


def keep_two(tab, service, pictures):
    """Save corrections of two images while the server cannot take any; returns their file names."""
    tab.load(*[path for path, _ in pictures.values()][:2])
    service.failing = "corrections"
    for _ in range(2):
        tab.page.keyboard.press("b")
        tab.draw((10, 10), (30, 70))
        save(tab)
        tab.page.get_by_text("Not sent: kept in this browser").wait_for()
        tab.page.evaluate("document.activeElement.blur()")
        tab.page.keyboard.press("n")
        tab.settle()
    service.failing = None
    tab.complaints.clear()
    return list(pictures)[:2]


def test_a_correction_that_is_refused_for_ever_holds_up_no_other(tab, service, pictures):
    first, second = keep_two(tab, service, pictures)
    service.refused = {first}
    tab.page.click("#send-again")
    tab.page.get_by_text("1 correction is kept in this browser").wait_for()
    assert [one["filename"] for one in service.corrections] == [second]
    assert f"{first}: The label 'x' is not one of the model's." in tab.text("#refused")
    written = json.loads(tab.download("#refused button >> nth=0"))
    assert written["filename"] == first
    assert base64.b64decode(written["image"]) == pictures[first][0].read_bytes()
    tab.page.on("dialog", lambda dialog: dialog.accept())
    tab.page.click("#refused button >> nth=1")
    tab.page.locator("#outbox").wait_for(state="hidden")
    assert tab.page.locator("#items .status").all_inner_texts() == ["not saved", "saved"]
    assert "422" in tab.complaints.pop()


def test_a_save_has_one_name_however_often_it_is_sent(tab, service, first):
    tab.load(first[0])
    service.failing = "corrections"
    save(tab)
    tab.page.get_by_text("Not sent: kept in this browser").wait_for()
    kept = tab.page.evaluate("async () => (await import('/outbox.js')).waiting().then(([one]) => one.once)")
    service.failing = None
    tab.complaints.clear()
    tab.page.click("#send-again")
    tab.page.get_by_text("Saved as c1").wait_for()
    save(tab)
    tab.page.get_by_text("Saved as c2").wait_for()
    keys = [one["key"] for one in service.corrections]
    assert keys[0] == kept
    assert len(kept) == 32
    assert keys[0] != keys[1]


def test_what_was_drawn_for_one_model_is_not_saved_with_another(tab, service, first):
    tab.load(first[0])
    tab.page.keyboard.press("b")
    tab.draw((10, 10), (30, 70))
    tab.page.select_option("#label", "malignant")
    tab.page.select_option("#model", "organs")
    tab.page.get_by_text("1 of 1 predicted").wait_for()
    tab.settle()
    save(tab)
    tab.page.get_by_text("Saved as c1").wait_for()
    [stored] = service.corrections
    assert (stored["model"], stored["label"]) == ("organs", None)  # a model without labels
    assert "Not saved: what was made with alpha" in tab.text("#saved")
    assert tab.text("#items .status") == "not saved"
    asked = []
    tab.page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    tab.page.close(run_before_unload=True)
    tab.page.select_option("#model", "alpha")
    tab.settle()
    assert asked == ["beforeunload"]
    assert tab.text("#saved") == "Not saved"
    assert tab.page.locator("#label").input_value() == "malignant"
    save(tab)
    tab.page.get_by_text("Saved as c2").wait_for()
    assert service.corrections[1]["label"] == "malignant"
    assert tab.text("#items .status") == "saved"


def test_without_a_store_nothing_is_offered_or_kept(tab, service, first):
    service.store = None
    tab.page.reload()
    tab.page.locator("#model option").first.wait_for(state="attached")
    tab.load(first[0])
    tab.page.keyboard.press("b")
    tab.draw((10, 10), (30, 70))
    for hidden in ("#save", "#stored", "#comment"):
        assert tab.page.locator(hidden).is_hidden()
    assert tab.text("#not-stored").startswith("This server stores no corrections; download")
    save(tab)
    assert "This server stores no corrections" in tab.text("#complaint")
    assert tab.page.locator("#outbox").is_hidden()


def test_a_store_that_is_gone_leaves_no_image_in_the_browser(tab, service, first):
    tab.load(first[0])
    service.store = False
    save(tab)
    tab.page.locator("#complaint").get_by_text("This server stores no corrections").wait_for()
    assert tab.page.evaluate("async () => (await (await import('/outbox.js')).waiting()).length") == 0
    assert tab.page.locator("#save").is_hidden()
    assert "404" in tab.complaints.pop()
