// Saving corrections: on the server, or here until the server has them.

import { getCorrections } from "./api.js";
import { $, $$, complain, download, make, say } from "./dom.js";
import { bodyOf, drop, keep, newName, send, volatile, waiting } from "./outbox.js";
import { maskFile } from "./png.js";
import { labelOf, session } from "./session.js";

const AUTHOR = "delineate.author";

const TEXTS = {
  none: "",
  unsaved: "Not saved",
  saving: "Saving …",
  saved: "Saved",
  kept: "Not sent: kept in this browser",
};

const NOT_STORED = "Corrections of single slices are not stored on the server; download the mask or the DICOM SEG.";
const NO_STORE = "This server stores no corrections; download the mask or the DICOM SEG.";

const refused = new Map(); // key in the outbox -> why the server will never take it

/** Why nothing of an image is stored, or null. */
function whyNot(item) {
  if (!session.stores) return NO_STORE;
  return item?.several ? NOT_STORED : null;
}

export function showSaving() {
  const item = session.current;
  const draft = item?.drafts.get(session.model);
  const state = draft?.saving ?? "none";
  const reason = whyNot(item);
  for (const element of $$("[data-stored]")) element.hidden = reason !== null;
  $("#stored").hidden = !session.stores;
  const note = $("#not-stored");
  note.hidden = reason === null;
  if (note.textContent !== reason) note.textContent = reason ?? "";
  note.classList.toggle("bad", item?.saving === "unsaved");
  const others = [...(item?.drafts ?? [])].filter(([name, one]) => name !== session.model && one.saving === "unsaved");
  const place = $("#saved");
  const words = [state === "saved" && draft.stored !== null ? `Saved as ${draft.stored}` : TEXTS[state]];
  if (others.length) words.push(`Not saved: what was made with ${others.map(([name]) => name).join(", ")}`);
  place.textContent = words.filter(Boolean).join(". ");
  place.className = { unsaved: "bad", kept: "bad", saved: "good" }[others.length ? "unsaved" : state] ?? "";
}

export function setSaving(item, model, state) {
  const draft = item.draft(model);
  if (draft.saving === state) return;
  draft.saving = state;
  session.tell("saving", { item });
}

/** [item, model, draft] of what waits in the outbox under a key, if it is open. */
function openWith(key) {
  const drafts = session.items.flatMap((item) => [...item.drafts].map(([model, draft]) => [item, model, draft]));
  return drafts.find(([, , draft]) => draft.kept === key);
}

/** Send what a reader made of one image; it stays in the browser until the server says that it has it. */
export async function save(item, model, answer, mask) {
  const reason = whyNot(item);
  if (reason) {
    complain(reason);
    return;
  }
  const author = $("#author").value.trim();
  if (!author) {
    complain("A correction says who made it; fill in the author first.");
    $("#author").focus();
    return;
  }
  const draft = item.draft(model.name);
  const label = labelOf(item, model); // null: the reader said nothing about it
  const now = () => `${mask?.version} ${labelOf(item, model)} ${item.comment}`;
  const state = now();
  const png = (values) => (mask ? maskFile(values, mask.width, mask.height, mask.classes.length) : null);
  setSaving(item, model.name, "saving");
  const correction = {
    once: newName(),
    file: item.file,
    filename: item.name.split("/").pop(),
    mask: await png(mask?.mask),
    predicted: await png(mask?.predicted),
    model: model.name,
    identity: answer.identity,
    label,
    author,
    comment: item.comment,
    seconds: Math.round(item.seconds * 10) / 10,
  };
  if (draft.kept !== null) await forget(draft.kept);
  draft.kept = await keep(correction);
  const still = () => state === now();
  try {
    const stored = await send(draft.kept, correction);
    draft.kept = null;
    draft.stored = stored.id;
    setSaving(item, model.name, still() ? "saved" : "unsaved");
    say(`The correction of ${item.name} is stored.`);
  } catch (error) {
    if (error.absent) {
      // Nothing here would ever send it, so the image must not stay in the browser.
      await forget(draft.kept);
      draft.kept = null;
      session.storeless = true;
      setSaving(item, model.name, "unsaved");
      complain(NO_STORE);
    } else {
      if (error.refused) refused.set(draft.kept, error.message);
      setSaving(item, model.name, still() ? "kept" : "unsaved");
      complain(`The correction of ${item.name} is not on the server, but kept in this browser: ${error.message}`);
    }
  }
  await showOutbox();
}

async function forget(key) {
  refused.delete(key);
  await drop(key);
}

/** One correction that the server refuses: why, and what can be done with it. */
function refusal(correction) {
  const { key, filename } = correction;
  const button = (textContent, act) => {
    const made = make("button", { type: "button", textContent, "aria-label": `${textContent} the correction of ${filename}` });
    made.addEventListener("click", act);
    return made;
  };
  const offer = async () => {
    const name = filename.replace(/\.[^.]+$/, "") || "image";
    download(new Blob([JSON.stringify(await bodyOf(correction))], { type: "application/json" }), `${name}_correction.json`);
  };
  const discard = async () => {
    if (!window.confirm(`Discard the correction of ${filename}? It is nowhere else.`)) return;
    await forget(key);
    const [item, model, draft] = openWith(key) ?? [];
    if (draft) {
      draft.kept = null;
      setSaving(item, model, "unsaved");
    }
    await showOutbox();
  };
  const why = make("span", { textContent: `${filename}: ${refused.get(key)}` });
  return make("li", {}, why, button("Download", offer), button("Discard", discard));
}

/** Say what still waits here, and offer to send it. */
export async function showOutbox() {
  const all = await waiting();
  const bar = $("#outbox");
  bar.hidden = !all.length;
  const count = all.length === 1 ? "1 correction is" : `${all.length} corrections are`;
  $("p", bar).textContent = `${count} kept in this browser, not yet on the server.`;
  const never = all.filter(({ key }) => refused.has(key));
  $("#refused").hidden = !never.length;
  $("#refused").replaceChildren(...never.map(refusal));
}

async function sendAll() {
  $("#send-again").disabled = true;
  const failed = [];
  for (const correction of await waiting()) {
    const { key, filename } = correction;
    try {
      const stored = await send(key, correction);
      refused.delete(key);
      const [item, model, draft] = openWith(key) ?? [];
      if (!draft) continue;
      draft.kept = null;
      draft.stored = stored.id;
      if (draft.saving === "kept") setSaving(item, model, "saved");
    } catch (error) {
      if (error.refused) refused.set(key, error.message);
      else failed.push(`The correction of ${filename} could not be sent: ${error.message}`);
      if (error.status === 401) break; // no token, which would be asked for again for each
    }
  }
  const more = failed.length > 1 ? ` (and ${failed.length - 1} more)` : "";
  complain(failed.length ? failed[0] + more : null);
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
