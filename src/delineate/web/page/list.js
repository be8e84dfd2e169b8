// The list of images: thumbnails, what became of each, and the order in which they are stepped through.

import { $, make, say } from "./dom.js";
import { thumbnailOf } from "./pictures.js";
import { session } from "./session.js";

const rows = new Map(); // item -> its list element
let order = "added";

const seen = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      const item = [...rows].find(([, row]) => row === target)?.[0];
      if (item) addThumbnail(item);
    }
  },
  { rootMargin: "200px" },
);

let decoding = Promise.resolve();

function addThumbnail(item) {
  // One after the other: several large files at once would fill the memory.
  decoding = decoding.then(async () => {
    if (item.thumbnail || !rows.has(item)) return;
    const { slice } = item;
    item.thumbnail = await thumbnailOf(item).catch(() => null);
    if (!rows.has(item)) return;
    if (item.thumbnail) $("img", rows.get(item)).src = item.thumbnail;
    else if (item.slice !== slice) addThumbnail(item); // only now it is known that there are several slices
  });
}

export const lookOf = (item) => item.answers.get(session.model)?.look ?? null;

/** What became of an image: [class, text]. */
function statusOf(item) {
  const failed = item.errors.get(session.model);
  if (failed) return ["failed", failed];
  if (item.asked.has(session.model) && !item.answers.has(session.model)) return ["working", "predicting …"];
  if (!item.answers.has(session.model)) return ["waiting", "waiting"];
  const saving = { unsaved: item.several || !session.stores ? "not stored" : "not saved", saving: "saving …", saved: "saved", kept: "kept here" }[item.saving];
  if (saving) return [item.saving, saving];
  const label = item.answers.get(session.model).chosen_label;
  return ["done", label ?? "done"];
}

export function ordered() {
  const items = [...session.items];
  if (order === "name") items.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  if (order === "look") items.sort((a, b) => (lookOf(b) ?? -1) - (lookOf(a) ?? -1) || a.id - b.id);
  return items;
}

function rowOf(item) {
  let row = rows.get(item);
  if (row) return row;
  const button = make(
    "button",
    { type: "button", className: "item" },
    make("img", { alt: "", width: 56, height: 42 }),
    make(
      "span",
      { className: "words" },
      make("span", { className: "name", textContent: item.name.split("/").pop(), title: item.name }),
      make("span", { className: "below" }, make("span", { className: "status" }), make("span", { className: "look" })),
    ),
  );
  button.addEventListener("click", () => session.select(item));
  row = make("li", {}, button);
  rows.set(item, row);
  seen.observe(row);
  return row;
}

function fill(item) {
  const row = rowOf(item);
  const [kind, text] = statusOf(item);
  const status = $(".status", row);
  status.textContent = text;
  row.dataset.state = kind;
  status.title = kind === "failed" ? text : "";
  const look = lookOf(item);
  const score = $(".look", row);
  score.textContent = look === null ? "" : `look ${look.toFixed(2)}`;
  score.title = look === null ? "" : `look score ${look.toFixed(2)} of 1: the higher, the more this image wants a look`;
  score.classList.toggle("high", look !== null && look >= 0.5);
  const button = $("button", row);
  if (item === session.current) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}

export function refresh() {
  const list = $("#items");
  const items = ordered();
  for (const [item, row] of rows) {
    if (!session.items.includes(item)) {
      row.remove();
      rows.delete(item);
    }
  }
  items.forEach((item, at) => {
    const row = rowOf(item);
    if (list.children[at] !== row) list.insertBefore(row, list.children[at] ?? null);
    fill(item);
  });
  const ready = items.filter((item) => item.answers.has(session.model)).length;
  const failed = items.filter((item) => item.errors.has(session.model)).length;
  $("#progress").textContent = items.length
    ? `${ready} of ${items.length} predicted${failed ? `, ${failed} failed` : ""}`
    : "No images yet";
  document.body.classList.toggle("empty", !items.length);
}

/** Go `by` images on in the order of the list. */
export function step(by) {
  const items = ordered();
  if (!items.length) return;
  const at = items.indexOf(session.current);
  const next = Math.min(items.length - 1, Math.max(0, at + by));
  if (next === at) {
    say(by > 0 ? "This is the last image." : "This is the first image.");
    return;
  }
  session.select(items[next]);
}

export function setUp() {
  $("#order").addEventListener("change", (event) => {
    order = event.target.value;
    refresh();
    if (session.current) rows.get(session.current)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  let late = null;
  const soon = () => {
    late ??= requestAnimationFrame(() => {
      late = null;
      refresh();
    });
  };
  for (const type of ["items", "status", "model", "saving", "slice"]) session.addEventListener(type, soon);
  session.addEventListener("slice", ({ detail }) => !detail.item.thumbnail && rows.has(detail.item) && addThumbnail(detail.item));
  session.addEventListener("select", () => {
    refresh();
    if (session.current) rows.get(session.current)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
}
