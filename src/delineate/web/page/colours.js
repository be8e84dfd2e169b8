// Colours of classes and maps, as in the reports and in the overlays that `delineate predict` writes.

/** Of the classes; the first is the reports' colour of a prediction. */
export const CLASS_COLOURS = [
  [255, 176, 0], [86, 204, 255], [255, 122, 184], [126, 224, 129], [199, 166, 255], [255, 143, 90], [245, 240, 138],
];
export const REFERENCE = [255, 255, 255]; // the model's outline behind a corrected one
export const ONLY_SECOND = [86, 204, 255];
export const ONLY_FIRST = [255, 176, 0];

export const colourOf = (index) => CLASS_COLOURS[(index - 1) % CLASS_COLOURS.length];
export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;

const STOPS = {
  viridis: [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]],
  magma: [[28, 16, 68], [114, 31, 129], [183, 55, 121], [252, 137, 97], [252, 253, 191]],
};

/** 256 RGBA values; low ones fade out, so that the picture shows where a map says nothing. */
export function table(name) {
  const stops = STOPS[name];
  const values = new Uint8Array(1024);
  for (let i = 0; i < 256; i += 1) {
    const place = (i / 255) * (stops.length - 1);
    const k = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c += 1) values[4 * i + c] = stops[k][c] + (place - k) * (stops[k + 1][c] - stops[k][c]);
    values[4 * i + 3] = Math.min(255, i * 4);
  }
  return values;
}

/** The maps that can lie over an image; `picture` is where the service's answer has it. */
export const MAPS = {
  probability: { title: "Probability", ends: ["0", "1"], colours: "viridis", note: "that a pixel belongs to the class" },
  explanation: {
    title: "Activation map",
    ends: ["none", "its maximum"],
    colours: "viridis",
    note: "what raised the score; scaled to its own maximum, it does not say whether the score is right",
  },
  uncertainty: { title: "Uncertainty", ends: ["sure", "unsure"], colours: "magma", note: "entropy of the probabilities" },
};
