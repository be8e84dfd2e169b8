// What is on show: the current image with the masks and maps of one or two models.

import { MAPS, table } from "./colours.js";
import { $, short, say, whole } from "./dom.js";
import { dice } from "./geometry.js";
import * as list from "./list.js";
import * as panel from "./panel.js";
import { pictureOf } from "./pictures.js";
import { decodeGrey } from "./png.js";
import * as regions from "./regions.js";
import { setSaving, showSaving } from "./save.js";
import { labelOf, session } from "./session.js";
import { Viewer } from "./viewer.js";

export const viewer = new Viewer($("#stage"));

/** Of the first pane, and of the second under `other`; null while there is nothing. */
export let shown = null;

const look = { fill: 0.25, outlined: true, behind: true, difference: true, opacity: 0.65, hidden: false, index: 1 };
const tables = { viridis: table("viridis"), magma: table("magma") };
const decoded = new WeakMap(); // blob of a map -> promise of its values
let ticket = 0;

/** What is shown, unless the reader has gone on to another image or slice that is not ready yet. */
const onShow = () => (shown && shown.item === session.current && shown.shelf === shown.item.shelf ? shown : null);
export const active = () => (shown?.mask ? onShow() : null);
export const settings = look;

/** Change how things are drawn. */
export function set(change) {
  Object.assign(look, change);
  viewer.draw();
}

async function mapOf(answer) {
  const known = MAPS[session.map];
  let blob = known && answer?.pictures[session.map];
  if (Array.isArray(blob)) blob = blob[blob.length - shown.classes + look.index - 1]; // a background may come first
  if (!blob) return null;
  if (!decoded.has(blob)) decoded.set(blob, decodeGrey(blob));
  return { ...(await decoded.get(blob)), table: tables[known.colours] };
}

async function sideOf(item, model) {
  const answer = model ? item.answers.get(model) : null;
  return { model: session.modelNamed(model), answer, mask: answer ? await session.mask(item, model) : null };
}

/** Bring the stage and the panel up to what the session says. */
export async function show() {
  ticket += 1;
  const mine = ticket;
  const item = session.current;
  const shelf = item?.shelf;
  const other = $("#other");
  other.hidden = !session.second;
  $("#difference-field").hidden = !session.second;
  if (!item) {
    shown = null;
    viewer.show(null, null);
    refreshPanel();
    return;
  }
  item.seen = performance.now();
  showState(item);
  let picture = null;
  try {
    picture = await pictureOf(item);
  } catch {
    picture = null; // the outline is then drawn on grey
  }
  const first = await sideOf(item, session.model).catch((error) => ({ error }));
  const second = session.second ? await sideOf(item, session.second).catch((error) => ({ error })) : null;
  if (mine !== ticket || item.shelf !== shelf) return;
  const fresh = shown?.item !== item || shown?.answer !== first.answer;
  shown = { item, shelf, picture, ...first, other: second, classes: first.model?.classes.length ?? 1 };
  shown.map = await mapOf(first.answer);
  if (second) second.map = await mapOf(second.answer);
  if (mine !== ticket) return;
  const { answer } = shown;
  const size = answer ? { width: answer.width, height: answer.height } : picture;
  viewer.panes[0].layers = () => layersOf(shown, first);
  viewer.panes[1].layers = () => (second ? layersOf(second, second) : null);
  viewer.show(picture, size ?? null);
  const failed = showState(item, first.error ?? second?.error);
  refreshPanel();
  if (fresh && answer && !failed) announce(item, answer);
}

function layersOf(side, pair) {
  if (!side.answer || look.hidden) return null;
  const { mask } = side;
  const [a, b] = [shown.mask, shown.other?.mask];
  const comparable = a && b && a.width === b.width && a.height === b.height;
  return {
    mask: mask?.mask ?? null,
    width: side.answer.width,
    height: side.answer.height,
    fill: look.fill,
    outlined: look.outlined,
    behind: look.behind && mask?.edited && pair.mask ? mask.predicted : null,
    map: side.map ? { ...side.map, opacity: look.opacity } : null,
    difference: look.difference && comparable ? { first: a.mask, second: b.mask } : null,
  };
}

let told = null; // the failure that a screen reader has heard of

/** Say over the stage what is waited for or why it failed; returns the latter. */
function showState(item, error = null) {
  const failed = error?.message ?? item.errors.get(session.model) ?? item.errors.get(session.second);
  const ready = item.answers.has(session.model) && (!session.second || item.answers.has(session.second));
  const box = $("#state");
  let text = null;
  if (failed) text = failed;
  else if (!ready) text = item.asked.size ? "Predicting …" : "Waiting for its turn …";
  else if (item.foreign && shown?.item === item && !shown.picture) {
    text = "This browser cannot show the file; the mask is drawn on grey.";
  }
  box.hidden = !text;
  box.classList.toggle("failed", Boolean(failed));
  $("p", box).textContent = text ?? "";
  $("#retry").hidden = !failed;
  const heard = failed ? `${item.name}: ${failed}` : null;
  if (heard && heard !== told) say(heard);
  told = heard;
  return failed;
}

function announce(item, answer) {
  const label = answer.chosen_label ? `, ${answer.chosen_label} ${short(answer.label?.[answer.chosen_label])}` : "";
  const area = shown.mask ? `, mask of ${whole(shown.mask.pixels())} pixels` : "";
  const slice = item.several ? `, slice ${item.slice}` : "";
  say(`${item.name}${slice}${label}${area}${answer.look === null ? "" : `, look score ${answer.look.toFixed(2)}`}`);
}

/** Everything beside the image. */
function refreshPanel() {
  const item = session.current;
  const answer = onShow()?.answer ?? null;
  panel.showLabels(answer);
  panel.offerLabels(item, answer);
  panel.showMap(answer);
  $("#comment").value = item?.comment ?? "";
  const spacing = panel.spacingOf(item, answer);
  if (document.activeElement !== $("#spacing")) $("#spacing").value = [...new Set(item?.spacing ?? [])].join(", ");
  const known = spacing && !item.spacing ? [...new Set(spacing)].map(short).join(", ") : null;
  $("#spacing").placeholder = known ? `${known} (of the file)` : "mm per pixel";
  const items = list.ordered();
  const at = items.indexOf(item);
  $("#where").textContent = item ? `${at + 1} of ${items.length}: ${item.name}` : "";
  panel.showSlice(item);
  $("#previous").disabled = at <= 0;
  $("#next").disabled = at < 0 || at === items.length - 1;
  showSaving();
  refreshMask();
}

let measuring = 0;

/** What follows every stroke; the measurements wait until the hand rests, as they look at every pixel. */
export function refreshMask() {
  const mask = active()?.mask ?? null;
  const threshold = $("#threshold");
  const movable = Boolean(mask?.probability);
  threshold.disabled = !movable;
  if (mask) threshold.value = String(mask.threshold);
  $("#threshold-value").textContent = mask ? mask.threshold.toFixed(2) : "–";
  $("#undo").disabled = !mask?.done.length;
  $("#redo").disabled = !mask?.undone.length;
  $("#reset").disabled = !mask?.edited;
  for (const name of ["holes", "clear"]) $(`#${name}`).disabled = !mask;
  $("#save").disabled = !onShow()?.answer;
  for (const button of document.querySelectorAll("[data-download]")) button.disabled = !mask;
  showCaption(viewer.panes[0], shown);
  showCaption(viewer.panes[1], shown?.other);
  panel.showFigures(mask, null);
  regions.refresh(onShow());
  clearTimeout(measuring);
  measuring = setTimeout(showSlowFigures, mask && mask.mask.length > 4e6 ? 400 : 60);
  viewer.draw();
}

function showSlowFigures() {
  const current = active();
  const mask = current?.mask ?? null;
  panel.showMeasurements(mask, panel.spacingOf(current?.item, current?.answer));
  const other = current?.other?.mask;
  if (!mask || !other || mask.mask.length !== other.mask.length) return;
  const value = dice(mask.mask, other.mask);
  panel.showFigures(mask, value === null ? "both are empty" : value.toFixed(4));
}

function showCaption(pane, side) {
  const words = [];
  if (side?.answer) {
    if (session.second) words.push(side.model.name);
    if (session.second && side.answer.chosen_label) words.push(side.answer.chosen_label);
    if (side.mask) words.push(`${whole(side.mask.pixels())} px`);
    if (side.mask?.edited) words.push("corrected");
  }
  $(".caption", pane.element).textContent = session.second ? words.join(" · ") : "";
  const name = session.current?.name;
  const label = name ? [name, words.join(", ")].filter(Boolean).join(": ") : "No image is open";
  pane.overlay.setAttribute("aria-label", label);
}

/** After a change of the mask, the label or the comment. */
export function changed() {
  const item = session.current;
  if (!item) return;
  const { model } = session;
  item.shelf.edited[active()?.mask.edited ? "add" : "delete"](model);
  const label = labelOf(item, session.modelNamed(model));
  const touched = label !== null || item.comment !== "" || item.draft(model).stored !== null || item.edited(model);
  setSaving(item, model, touched ? "unsaved" : "none");
  refreshMask();
}
