// Saving corrections: on the server, or here until the server has them.

import { getCorrections } from "./api.js";
import { $, $$, complain, make, say } from "./dom.js";
import { drop, keep, send, volatile, waiting } from "./outbox.js";
import { maskFile } from "./png.js";
import { session } from "./session.js";

const AUTHOR = "delineate.author";

const TEXTS = {
  none: "",
  unsaved: "Not saved",
  saving: "Saving …",
  saved: "Saved",
  kept: "Not sent: kept in this browser",
};

const NOT_STORED = "Corrections of single slices are not stored on the server; download the mask or the DICOM SEG.";

export function showSaving() {
  const item = session.current;
  const state = item?.saving ?? "none";
  const several = Boolean(item?.several);
  for (const element of $$("[data-stored]")) element.hidden = several;
  $("#not-stored").hidden = !several;
  $("#not-stored").textContent = NOT_STORED;
  $("#not-stored").classList.toggle("bad", several && state === "unsaved");
  const place = $("#saved");
  place.textContent = state === "saved" && item.stored ? `Saved as ${item.stored}` : TEXTS[state];
  place.className = { unsaved: "bad", kept: "bad", saved: "good" }[state] ?? "";
}

export function setSaving(item, state) {
  if (item.saving === state) return;
  item.saving = state;
  session.tell("saving", { item });
}

/** Send what a reader made of one image; it stays in the browser until the server says that it has it. */
export async function save(item, model, answer, mask) {
  if (item.several) {
    complain(NOT_STORED);
    return;
  }
  const author = $("#author").value.trim();
  if (!author) {
    complain("A correction says who made it; fill in the author first.");
    $("#author").focus();
    return;
  }
  const now = () => `${mask?.version} ${item.label} ${item.comment}`;
  const state = now();
  const png = (values) => (mask ? maskFile(values, mask.width, mask.height, mask.classes.length) : null);
  setSaving(item, "saving");
  const correction = {
    file: item.file,
    filename: item.name.split("/").pop(),
    mask: await png(mask?.mask),
    predicted: await png(mask?.predicted),
    model: model.name,
    identity: answer.identity,
    label: item.label, // null: the reader said nothing about it
    author,
    comment: item.comment,
    seconds: Math.round(item.seconds * 10) / 10,
  };
  if (item.kept !== null) await drop(item.kept);
  item.kept = await keep(correction);
  const still = () => state === now();
  try {
    const stored = await send(item.kept, correction);
    item.kept = null;
    item.stored = stored.id;
    setSaving(item, still() ? "saved" : "unsaved");
    say(`The correction of ${item.name} is stored.`);
  } catch (error) {
    setSaving(item, still() ? "kept" : "unsaved");
    complain(`The correction of ${item.name} is not on the server, but kept in this browser: ${error.message}`);
  }
  await showOutbox();
}

/** Say what still waits here, and offer to send it. */
export async function showOutbox() {
  const all = await waiting();
  const bar = $("#outbox");
  bar.hidden = !all.length;
  const count = all.length === 1 ? "1 correction is" : `${all.length} corrections are`;
  $("p", bar).textContent = `${count} kept in this browser, not yet on the server.`;
}

async function sendAll() {
  $("#send-again").disabled = true;
  try {
    for (const correction of await waiting()) {
      const stored = await send(correction.key, correction);
      const item = session.items.find((one) => one.kept === correction.key);
      if (item) {
        item.kept = null;
        item.stored = stored.id;
        if (item.saving === "kept") setSaving(item, "saved");
      }
    }
    complain(null);
  } catch (error) {
    complain(`A correction could not be sent: ${error.message}`);
  }
  $("#send-again").disabled = false;
  await showOutbox();
}

async function listStored() {
  const table = $("#corrections table");
  let found;
  try {
    found = await getCorrections();
  } catch (error) {
    complain(`The stored corrections cannot be listed: ${error.message}`);
    return;
  }
  const columns = ["When", "Who", "Image", "Model", "Label"];
  const date = (text) => (text ? new Date(text).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }) : "–");
  table.replaceChildren(
    make(
      "thead",
      {},
      make("tr", {}, ...columns.map((name) => make("th", { className: "word", scope: "col", textContent: name }))),
    ),
    make(
      "tbody",
      {},
      ...found.map((one) =>
        make("tr", {}, ...[date(one.stored_at), one.author, one.filename ?? one.image_id, one.model, one.label].map((text) =>
          make("td", { className: "word", textContent: text ?? "–" }))),
      ),
    ),
  );
  if (!found.length) table.replaceChildren(make("caption", { className: "word", textContent: "None yet." }));
  $("#corrections").showModal();
}

export function setUp() {
  $("#author").value = localStorage.getItem(AUTHOR) ?? "";
  $("#author").addEventListener("input", (event) => localStorage.setItem(AUTHOR, event.target.value.trim()));
  $("#send-again").addEventListener("click", sendAll);
  $("#stored").addEventListener("click", listStored);
  session.addEventListener("saving", showSaving);
  window.addEventListener("beforeunload", (event) => {
    const open = session.items.some((item) => item.saving === "unsaved" || item.saving === "saving");
    if (open || volatile()) event.preventDefault();
  });
  return showOutbox();
}
