// The panel beside the image: label, figures of the mask, measurements, legends.

import { MAPS, colourOf, css } from "./colours.js";
import { $, make, short, whole } from "./dom.js";
import { measure } from "./geometry.js";
import { labelOf, session } from "./session.js";

/** Bars of the label probabilities, the chosen one first to the eye. */
export function showLabels(answer) {
  const home = $("#labels");
  if (!answer?.label) {
    home.replaceChildren(make("p", { className: "quiet", textContent: answer ? "This model names no label." : "–" }));
  } else {
    home.replaceChildren(
      ...Object.entries(answer.label).map(([name, probability]) => {
        const value = make("div", { className: "value" });
        value.style.width = `${100 * probability}%`;
        return make(
          "div",
          { className: name === answer.chosen_label ? "bar chosen" : "bar" },
          make("span", { className: "title", textContent: name }),
          make("span", { textContent: probability.toFixed(3) }),
          make("div", { className: "track", "aria-hidden": "true" }, value),
        );
      }),
    );
  }
  const look = answer?.look;
  $("#look").textContent =
    look === null || look === undefined ? "" : `Look score ${look.toFixed(2)} of 1: the higher, the less sure the model is.`;
}

/** Choices of the correction's label: what a reader does not say is not stored as if it were known. */
export function offerLabels(item, answer) {
  const model = session.modelNamed(session.model);
  const labels = model?.labels ?? [];
  $("#label-field").hidden = !labels.length;
  const predicted = answer?.chosen_label ?? null;
  $("#label").replaceChildren(
    make("option", { value: "", textContent: predicted ? `not judged (${predicted}?)` : "not judged" }),
    ...labels.map((name) => make("option", { value: name, textContent: name })),
  );
  $("#label").value = labelOf(item, model) ?? "";
}

/** Figures that follow every stroke. */
export function showFigures(mask, other) {
  const rows = [];
  if (mask) {
    const all = mask.mask.length;
    const share = (count) => `${whole(count)} px, ${short((100 * count) / all)} %`;
    if (mask.classes.length === 1) {
      rows.push(["Area", share(mask.pixels())]);
    } else {
      mask.classes.forEach((name, at) => rows.push([name, share(mask.pixels(at + 1)), colourOf(at + 1)]));
    }
    rows.push(["Image", `${mask.width} × ${mask.height} px`]);
    if (mask.edited) rows.push(["State", mask.drawn ? "corrected by hand" : "other threshold"]);
  }
  if (other) rows.push(["Dice of both", other]);
  $("#figures").replaceChildren(
    ...rows.flatMap(([name, value, colour]) => {
      const term = make("dt", {}, name);
      if (colour) {
        const swatch = make("span", { className: "swatch" });
        swatch.style.background = css(colour);
        term.prepend(swatch);
      }
      return [term, make("dd", { textContent: value })];
    }),
  );
}

/** Read "0.1" or "0.1,0.2" (row, column): [row, column] in mm, null when empty, undefined when it is neither. */
export function readSpacing(text) {
  const plain = text.trim();
  if (!plain) return null;
  const sides = plain.split(/[,;x×]|\s+/).filter(Boolean).map(Number);
  const good = sides.length <= 2 && sides.every((side) => Number.isFinite(side) && side > 0 && side <= 1000);
  return good && sides.length ? [sides[0], sides.at(-1)] : undefined;
}

export const spacingOf = (item, answer) => item?.spacing ?? answer?.spacing ?? null;

/** Table of what the mask that is shown covers. */
export function showMeasurements(mask, spacing) {
  const found = mask ? measure(mask.mask, mask.width, mask.height, mask.classes.length, spacing) : [];
  const names = mask?.classes ?? [];
  const row = (name, px, mm) =>
    make("tr", {}, make("th", { scope: "row", textContent: name }), ...[px, mm].map((text) => make("td", { textContent: text })));
  const bodies = found.map((one) => {
    const name = make("b", { textContent: names[one.index - 1] });
    return make(
      "tbody",
      {},
      ...(names.length > 1 ? [make("tr", {}, make("th", { scope: "row", colSpan: 3 }, name))] : []),
      row("Area", `${whole(one.pixels)} px`, one.area_mm2 === null ? "–" : `${short(one.area_mm2)} mm²`),
      row("Equivalent diameter", `${short(one.diameter)} px`, one.diameter_mm === null ? "–" : `${short(one.diameter_mm)} mm`),
      row("Width", `${whole(one.box[2])} px`, one.extent_mm ? `${short(one.extent_mm[0])} mm` : "–"),
      row("Height", `${whole(one.box[3])} px`, one.extent_mm ? `${short(one.extent_mm[1])} mm` : "–"),
    );
  });
  if (!found.length) {
    const nothing = make("td", { className: "word", textContent: mask ? "The mask is empty." : "–" });
    bodies.push(make("tbody", {}, make("tr", {}, nothing)));
  }
  $("#measured").replaceChildren(...bodies);
}

/** Which slice of a volume or a loop is on show. */
export function showSlice(item) {
  const several = Boolean(item?.several);
  $("#slices").hidden = !several;
  if (!several) return;
  const field = $("#slice");
  field.max = String(item.slices - 1);
  if (document.activeElement !== field || Number(field.value) !== item.slice) field.value = String(item.slice);
  $("#slice-last").textContent = `of 0 to ${whole(item.slices - 1)}`;
  $("#slice-back").disabled = item.slice === 0;
  $("#slice-forth").disabled = item.slice === item.slices - 1;
}

/** Controls of the map over the image, and its legend. */
export function showMap(answer) {
  const known = MAPS[session.map];
  const explains = session.modelNamed(session.model)?.explanations ?? [];
  $("#method-field").hidden = session.map !== "explanation" || !explains.length;
  $("#opacity-field").hidden = $("#legend").hidden = !known;
  if (!known) return;
  const legend = $("#legend");
  $(".low", legend).textContent = known.ends[0];
  $(".high", legend).textContent = known.ends[1];
  $(".scale", legend).className = `scale ${known.colours}`;
  let note = `${known.title}: ${known.note}.`;
  if (session.map === "explanation" && !explains.length) {
    note = "This model gives no activation map; it needs the run itself, in PyTorch.";
  } else if (session.map === "explanation" && answer?.explanation) {
    note = `${known.title} of the ${answer.explanation.target} (${answer.explanation.method}): ${known.note}.`;
  } else if (answer && !answer.pictures[session.map]) {
    const asked = session.map === "probability" || answer.wanted[session.map === "explanation" ? "explain" : session.map];
    note = `${known.title}: ${asked ? "this model gives none" : "asking the server"}.`;
  }
  $("p", legend).textContent = note;
}
