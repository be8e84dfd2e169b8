"""Make docs/reference/measurements.md from the table of measurements."""

from delineate.inference.measurements import MEASUREMENTS
from delineate.inference.measurements.view import LARGEST_SIDE, SMALLEST_AREA

NOTE = "<!-- Written by tools/reference.py; change the tables in the package, not this file. -->\n"
INTRO = """A lesion is a region of pixels of one class that touch, corners included; with `whole=True` it is
all pixels of a class. `measure` gives every lesion a value under every name below; it is None where it is
undefined, or where what it needs was not given: the mask alone, the image too, or the size of a pixel.

```python
from delineate.inference.measurements import measure

for lesion in measure(mask, image, classes=("lesion",), spacing=(0.05, 0.05), minimum_area=50):
    print(lesion.class_name, lesion.index, lesion.bbox, lesion.centroid, lesion.values["feret_max_mm"])
```

`bbox` is first row, first column, last row + 1, last column + 1; `centroid` is row and column, with the
centre of the first pixel at (0, 0). Lesions of a class are numbered from 1, the largest first.

- **Oblong pixels.** Lengths in mm, and every number that says how something looks (eccentricity,
  circularity, asymmetry, border), are computed with the height and the width of a pixel. Without a spacing
  pixels are taken as squares; square pixels of any size give the same shape, bit for bit.
- **What changes nothing.** Moving a lesion with its surroundings changes no bit of its values; turning the
  picture by 90 degrees or mirroring it changes nothing beyond rounding, except A, B and C of a lesion so
  large that its view is reduced, a little.
- **The frame.** A lesion with `touches_frame` 1 is cut by the picture: its numbers are those of the part
  that can be seen.
"""
ABCD = f"""## The ABCD rule

The ABCD rule of dermoscopy (Stolz et al., Eur J Dermatol 1994;4:521-527) lets a physician score asymmetry in
two perpendicular axes (0 to 2), an abrupt end of the pigment in eight segments of the border (0 to 8), six
colours (1 to 6) and five structures (1 to 5), and adds them up, 1.3 A + 0.1 B + 0.5 C + 0.5 D, to the total
dermatoscopy score. The measurements above follow A, B and C. They are numbers of a picture, not of a
diagnosis, and none of them is validated.

There is **no total dermatoscopy score**, on purpose: its D are network, branched streaks, dots, globules and
homogeneous areas, which a mask and its colours do not show; and its A and B are a physician's judgement of
structure as well, to which shares and thresholds measured here are not equal. A sum of them with the rule's
weights would have its name and its thresholds, 4.75 and 5.45, but not its meaning. The D of the clinical
rule of thumb, the diameter, is `feret_max_mm`.

A, B and C are measured on the region's box with a margin, reduced by a whole factor (mean of blocks) to at
most {LARGEST_SIDE} pixels a side; compactness and fractal dimension on the mask itself. A region of fewer
than {SMALLEST_AREA} pixels has none of them. What to keep in mind:

- Colours are those of the file, taken as sRGB. Light, camera and white balance are not corrected for, and
  hairs, bubbles and ink count as colours. Between devices only differences inside one picture compare.
- `border_cutoff` sees lightness, not pigment patterns, and depends on where exactly the outline runs: a
  mask drawn generously makes an abrupt border look gradual. The width of its bands was chosen on PH2.
- For a lesion that is nearly round the two principal axes are arbitrary, and a small change of the mask may
  turn them.
"""
HEAD = ("name", "unit", "what it is", "definition", "needs", "source")


def page() -> str:
    """Return the text of the page."""
    rows = [
        (f"`{name}`", row.unit, row.summary, row.definition, row.needs, row.source)
        for name, row in MEASUREMENTS.items()
    ]
    table = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    table += [f"| {' | '.join(cell.replace('*', chr(92) + '*') for cell in row)} |" for row in rows]
    return f"{NOTE}# Measurements\n\n{INTRO}\n" + "\n".join(table) + f"\n\n{ABCD}"
