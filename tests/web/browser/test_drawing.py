"""The mask in a real browser: threshold, brush, undo, holes, classes."""

import numpy as np
from scipy.ndimage import binary_fill_holes


def test_threshold_slider_counts_the_pixels_of_the_map(tab, fake, first):
    path, pixels = first
    tab.load(path)
    grey = np.rint(255 * fake.probability_of(pixels, "alpha"))
    seen = set()
    for threshold in (0.2, 0.35, 0.8):
        tab.slide("#threshold", threshold)
        count = int((grey > threshold * 255).sum())
        assert f"{count:,} px" in tab.text("#figures")
        seen.add(count)
    assert len(seen) == 3
    tab.page.keyboard.press("r")
    np.testing.assert_array_equal(tab.mask(), fake.mask_of(pixels, "alpha"))


def test_threshold_moves_by_keyboard_and_keeps_strokes(tab, fake, first):
    path, pixels = first
    tab.load(path)
    tab.page.keyboard.press("b")
    tab.draw((8, 8))
    drawn = tab.mask()
    added = (drawn == 1) & (fake.mask_of(pixels, "alpha") == 0)
    assert added.any()
    tab.page.focus("#threshold")
    for _ in range(4):
        tab.page.keyboard.press("ArrowRight")
    grey = np.rint(255 * fake.probability_of(pixels, "alpha"))
    expected = (grey > 0.54 * 255) | added
    np.testing.assert_array_equal(tab.mask() == 1, expected)


def test_brush_covers_the_pixels_whose_centres_it_reaches_and_undo_restores(tab, first):
    path, _ = first
    tab.load(path)
    before = tab.mask()
    tab.page.keyboard.press("b")
    tab.state("viewer.radius = 9.5")
    tab.draw((20.25, 30.5), (70.75, 41.0))
    after = tab.mask()

    rows, columns = np.mgrid[: before.shape[0], : before.shape[1]] + 0.5
    start, end = np.array([20.25, 30.5]), np.array([70.75, 41.0])
    along = ((columns - start[0]) * (end - start)[0] + (rows - start[1]) * (end - start)[1]) / (
        (end - start) @ (end - start)
    )
    along = along.clip(0, 1)
    distance = np.hypot(
        columns - start[0] - along * (end - start)[0], rows - start[1] - along * (end - start)[1]
    )
    # The mouse stops at fractions of a screen pixel, so a pixel right on the edge may fall on either side.
    sure = abs(distance - 9.5) > 0.05
    np.testing.assert_array_equal((after == 1)[sure], ((before == 1) | (distance < 9.5))[sure])
    assert (after != before).sum() > 500
    tab.page.keyboard.press("Control+z")
    np.testing.assert_array_equal(tab.mask(), before)
    assert tab.page.locator("#undo").is_disabled()
    tab.page.keyboard.press("Control+Shift+Z")
    np.testing.assert_array_equal(tab.mask(), after)
    tab.page.keyboard.press("e")
    tab.draw((20.25, 30.5), (70.75, 41.0))
    assert not tab.mask()[(distance < 9.4)].any()


def test_fifty_steps_are_undone_one_by_one(tab, first):
    tab.load(first[0])
    masks = tab.page.evaluate(
        """async () => {
            const { active } = await import("/stage.js");
            const { mask } = active();
            const sum = () => mask.mask.reduce((total, value, at) => (total * 31 + value * at) % 1000003, 7);
            const seen = [sum()];
            for (let k = 0; k < 60; k += 1) {
                if (k % 7 === 3) mask.setThreshold(0.2 + 0.01 * k);
                else if (k % 13 === 5) mask.reset();
                else if (k % 17 === 9) mask.clear();
                else { mask.paint(2 * k, k, 3 * k, 80 - k, 3 + (k % 5), k % 3 ? 1 : 0); mask.endStroke(); }
                seen.push(sum());
            }
            const there = [...seen];
            const back = [sum()];
            while (mask.undo()) back.unshift(sum());
            const again = [sum()];
            while (mask.redo()) again.push(sum());
            return [there, back, again, Array.from(mask.counts.slice(0, 2)), mask.mask.length];
        }"""
    )
    there, back, again, counts, size = masks
    changes = [one for one, last in zip(there, [None, *there], strict=False) if one != last]
    assert len(changes) > 50
    assert [one for one, last in zip(back, [None, *back], strict=False) if one != last] == changes
    assert [one for one, last in zip(again, [None, *again], strict=False) if one != last] == changes
    assert sum(counts) == size


def test_fill_holes_fills_what_the_mask_encloses(tab, first):
    tab.load(first[0])
    tab.page.click("#clear")
    assert "0 px" in tab.text("#figures")
    tab.page.keyboard.press("b")
    tab.state("viewer.radius = 2")
    tab.draw((30, 30), (70, 30), (70, 60), (30, 60), (30, 30))
    ring = tab.mask()
    tab.page.keyboard.press("f")
    filled = tab.mask()
    np.testing.assert_array_equal(filled, binary_fill_holes(ring))
    assert filled.sum() > ring.sum()
    tab.page.keyboard.press("Control+z")
    np.testing.assert_array_equal(tab.mask(), ring)


def test_several_classes_are_drawn_and_written_as_indices(tab, fake, first, read_png):
    path, pixels = first
    tab.load(path)
    tab.page.select_option("#model", "organs")
    tab.page.get_by_text("1 of 1 predicted").wait_for()
    tab.page.locator("#figures").get_by_text("cup").wait_for()
    expected = fake.mask_of(pixels, "organs")
    assert set(np.unique(expected)) == {0, 1, 2}
    np.testing.assert_array_equal(tab.mask(), expected)
    assert tab.page.locator("#threshold-field").is_hidden()
    tab.page.keyboard.press("2")
    tab.page.keyboard.press("b")
    tab.draw((6, 6))
    assert tab.mask()[6, 6] == 2
    np.testing.assert_array_equal(read_png(tab.download("[data-download=png]")), tab.mask())


def test_strokes_stay_when_another_image_is_looked_at(tab, first, pictures):
    paths = [path for path, _ in pictures.values()]
    tab.load(*paths)
    tab.page.keyboard.press("b")
    tab.draw((10, 10), (30, 70))
    mask = tab.mask()
    tab.page.keyboard.press("n")
    tab.settle()
    assert (tab.mask() != mask).any()
    tab.page.keyboard.press("p")
    tab.settle()
    np.testing.assert_array_equal(tab.mask(), mask)
    assert "not saved" in tab.page.locator("#items .status").first.inner_text()


def test_packed_strokes_come_back(tab, pictures):
    paths = [path for path, _ in pictures.values()]
    tab.load(*paths)
    tab.page.keyboard.press("b")
    tab.draw((10, 10), (30, 70))
    mask = tab.mask()
    tab.page.keyboard.press("n")
    tab.settle()
    packed = tab.page.evaluate(
        """async () => {
            const { session } = await import("/session.js");
            await session.packOthers(session.current, 0);
            return !(session.items[0].masks.get("alpha") instanceof Promise);
        }"""
    )
    assert packed
    tab.page.keyboard.press("p")
    tab.settle()
    np.testing.assert_array_equal(tab.mask(), mask)


def test_a_stroke_is_kept_as_few_runs_and_undone_whole(tab, first):
    """A wide brush comes in slivers; kept as such, fifty strokes would not fit into the memory for undo."""
    tab.load(first[0])
    runs, rows, same, counts = tab.page.evaluate(
        """async () => {
            const { MaskDocument } = await import("/mask.js");
            const [width, height] = [600, 400];
            const predicted = new Uint8Array(width * height);
            const mask = new MaskDocument({ width, height, classes: ["one"], threshold: 0.5, predicted });
            const stroke = (from, to, value) => {
                for (let x = from; x < to; x += 4) mask.paint(x, 200, x + 4, 200, 75, value);
            };
            stroke(100, 400, 1);
            mask.endStroke();
            const drawn = mask.mask.slice();
            stroke(200, 500, 0); // this stroke changes pixels twice
            stroke(150, 300, 1);
            mask.endStroke();
            mask.undo();
            const same = mask.mask.every((value, i) => value === drawn[i]);
            mask.undo();
            return [mask.undone.at(-1).runs.bytes / 10, 150, same, mask.pixels()];
        }"""
    )
    assert runs <= 2 * rows
    assert same
    assert counts == 0
