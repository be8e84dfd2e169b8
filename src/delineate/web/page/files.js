// Files that the page offers: mask, DICOM segmentation, JSON, GeoJSON.

import { dicomSeg } from "./api.js";
import { download } from "./dom.js";
import { measure, polygonsOf } from "./geometry.js";
import { maskFile } from "./png.js";
import { labelOf } from "./session.js";

/** Name of an image without its ending; of a slice with its number, as `delineate predict` names it. */
function stem(item) {
  const plain = item.name.split("/").pop().replace(/\.(nii\.gz|[^.]+)$/i, "") || "image";
  if (!item.several) return plain;
  const digits = Math.max(3, String(item.slices - 1).length);
  return `${plain}_s${String(item.slice).padStart(digits, "0")}`;
}

const asJson = (value) => new Blob([`${JSON.stringify(value, null, 2)}\n`], { type: "application/json" });

/** What is known about the mask on show; no pixel of it. */
export function summary(item, model, answer, mask, spacing) {
  const own = measure(mask.mask, mask.width, mask.height, mask.classes.length, spacing);
  return {
    image: item.name,
    slice: item.slice,
    width: mask.width,
    height: mask.height,
    spacing_mm: spacing,
    model: model.name,
    identity: answer.identity,
    classes: mask.classes,
    threshold: mask.threshold,
    corrected: mask.edited,
    label: answer.label,
    chosen_label: labelOf(item, model) ?? answer.chosen_label,
    look: answer.look,
    mask: own.map(({ index, ...values }) => ({ class: mask.classes[index - 1], ...values })),
    prediction_measurements: answer.measurements,
    research_only: answer.research_only,
  };
}

/** Outlines in pixel coordinates: x to the right, y down, (0, 0) the outer corner of the first pixel. */
export function contours(item, model, answer, mask) {
  const features = mask.classes.flatMap((name, at) =>
    polygonsOf(mask.mask, mask.width, mask.height, at + 1).map((rings) => ({
      type: "Feature",
      geometry: { type: "Polygon", coordinates: rings },
      properties: {
        class: name,
        class_index: at + 1,
        image: item.name,
        slice: item.slice,
        model: model.name,
        identity: answer.identity,
        corrected: mask.edited,
        label: labelOf(item, model) ?? answer.chosen_label,
      },
    })),
  );
  return {
    type: "FeatureCollection",
    coordinates: "pixel corners: x to the right, y down, (0, 0) the outer corner of the first pixel; no map coordinates",
    width: mask.width,
    height: mask.height,
    features,
  };
}

/** Offer one of "png", "dicom", "json", "geojson" of the mask on show. */
export async function offer(kind, { item, model, answer, mask, spacing, author }) {
  const name = `${stem(item)}_mask`;
  if (kind === "json") download(asJson(summary(item, model, answer, mask, spacing)), `${stem(item)}.json`);
  if (kind === "geojson") download(asJson(contours(item, model, answer, mask)), `${stem(item)}.geojson`);
  if (kind === "png") download(await maskFile(mask.mask, mask.width, mask.height, mask.classes.length), `${name}.png`);
  if (kind === "dicom") {
    const drawn = await maskFile(mask.mask, mask.width, mask.height, mask.classes.length);
    const corrected = mask.edited;
    const { slice, spacing: typed } = item;
    const about = { model: model.name, slice, spacing: typed, corrected, author: corrected ? author : null };
    const { blob, type } = await dicomSeg(item.file, drawn, about);
    download(blob, type.includes("zip") ? `${stem(item)}_dicom.zip` : `${stem(item)}_seg.dcm`);
  }
}
