// All measurements of each region of the mask on show: of the model's own mask they came with the answer, of a
// corrected one the service makes them anew, but only while somebody looks at them.

import { measureMask } from "./api.js";
import { $, make, short } from "./dom.js";
import { maskFile } from "./png.js";

const REST = 600; // ms after a stroke; the next one may follow
const MOST = 20; // tables; one for each speck of a torn mask would fill the page

let current = null; // what is on show: item, model, answer, mask
let waiting = 0;
let asked = null; // { mask, key } of what is waited for or asked
let running = null; // AbortController of a request
let inSight = false;
const measured = new WeakMap(); // mask -> { key, list } or { key, error } of its last measurement

const UNITS = { px: "px", px2: "px²", mm: "mm", mm2: "mm²" };

/** One region as the service measured it; a length in pixels and in millimetres is one row. */
function regionTable({ class_name: name, index, values }) {
  const rows = new Map(); // what is measured -> its texts
  for (const [key, value] of Object.entries(values ?? {})) {
    const [, base, unit] = key.match(/^(.*?)(?:_(px2?|mm2?))?$/);
    const cells = rows.get(base) ?? [];
    if (value !== null && value !== undefined) {
      const flag = base === "touches_frame" ? (value ? "yes" : "no") : null;
      cells.push(flag ?? `${short(value)}${unit ? ` ${UNITS[unit]}` : ""}`);
    }
    rows.set(base, cells);
  }
  const made = [...rows].map(([base, cells]) =>
    make(
      "tr",
      {},
      make("th", { scope: "row", textContent: base.replaceAll("_", " ") }),
      make("td", { textContent: cells[0] ?? "–" }),
      make("td", { textContent: cells[1] ?? "" }),
    ),
  );
  return make("table", {}, make("caption", { textContent: `${name} ${index}` }), make("tbody", {}, ...made));
}

function fillTables(list) {
  $("#lesions .scroll").replaceChildren(...list.slice(0, MOST).map(regionTable));
}

/** What must be the same for figures to be of the mask on show. */
const keyOf = ({ item, mask }) => `${mask.version} ${item.spacing}`;

function tell(title, text, { busy = false, failed = false } = {}) {
  $("#lesions summary").textContent = title;
  $("#measuring-text").textContent = text;
  $("#measuring").hidden = !text;
  $("#measuring").classList.toggle("bad", failed);
  $("#measure-again").hidden = !failed;
  $("#lesions .scroll").setAttribute("aria-busy", String(busy));
}

/** Bring the tables up to the mask on show; `shown` as the stage has it, or null. */
export function refresh(shown) {
  const before = current?.mask;
  current = shown?.answer ? shown : null;
  const fold = $("#lesions");
  fold.hidden = !current || !(current.mask?.edited || current.answer.measurements?.length);
  const corrected = current?.mask?.edited;
  if (!corrected || asked?.mask !== current.mask || asked.key !== keyOf(current)) stop();
  if (!current) return;
  if (!corrected) {
    const list = current.answer.measurements ?? [];
    tell(`Regions that the model found (${list.length})`, "");
    fillTables(list);
    return;
  }
  const known = measured.get(current.mask);
  if (known?.key === keyOf(current)) {
    if (known.error) tell("Regions of the corrected mask", `The corrected mask could not be measured: ${known.error}`, { failed: true });
    else tell(`Regions of the corrected mask (${known.list.length})`, known.list.length ? "" : "The mask is empty.");
    fillTables(known.list ?? []);
    return;
  }
  if (before !== current.mask) fillTables([]);
  const older = $("#lesions .scroll").childElementCount ? "; the figures below are from before the last change" : "";
  tell("Regions of the corrected mask", `Measuring the corrected mask …${older}`, { busy: true });
  if (asked || !fold.open || !inSight || document.hidden) return;
  asked = { mask: current.mask, key: keyOf(current) };
  waiting = setTimeout(ask, REST);
}

function stop() {
  clearTimeout(waiting);
  running?.abort();
  asked = running = null;
}

async function ask() {
  const { item, model, mask } = current;
  const key = keyOf(current);
  const controller = new AbortController();
  running = controller;
  let found;
  try {
    const drawn = await maskFile(mask.mask, mask.width, mask.height, mask.classes.length);
    const about = { model: model.name, slice: item.slice, spacing: item.spacing };
    found = { key, list: await measureMask(item.file, drawn, about, controller.signal) };
  } catch (error) {
    if (error.name === "AbortError") return;
    found = { key, error: error.message };
  }
  if (controller.signal.aborted) return;
  asked = running = null;
  measured.set(mask, found);
  refresh(current);
}

export function setUp() {
  const fold = $("#lesions");
  const again = () => refresh(current);
  new IntersectionObserver((entries) => {
    inSight = entries.at(-1).isIntersecting;
    if (inSight) again();
  }).observe(fold);
  fold.addEventListener("toggle", again);
  document.addEventListener("visibilitychange", again);
  $("#measure-again").addEventListener("click", () => {
    if (current?.mask) measured.delete(current.mask);
    refresh(current);
  });
}
