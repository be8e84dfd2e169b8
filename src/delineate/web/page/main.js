// The page's start: connects its controls with the session and the stage.

import { showCards } from "./about.js";
import { getModels, onTokenWanted } from "./api.js";
import { MAPS } from "./colours.js";
import { $, $$, complain, make, say } from "./dom.js";
import { offer } from "./files.js";
import { holesOf } from "./geometry.js";
import { listen } from "./keys.js";
import * as list from "./list.js";
import { readSpacing, spacingOf } from "./panel.js";
import { save, setUp as setUpSaving } from "./save.js";
import { setUp as setUpRegions } from "./regions.js";
import { labelOf, session } from "./session.js";
import { active, changed, refreshMask, set, settings, show, shown, viewer } from "./stage.js";

const IMAGE = /\.(png|jpe?g|bmp|tiff?|dcm|dicom|nii|nii\.gz)$/i;

// --- files -----------------------------------------------------------------------------------------------------

/** Files of a folder may be anything, so only pictures are taken; what was chosen one by one is all taken. */
function addFolder(files) {
  const pictures = [...files].filter((file) => IMAGE.test(file.name)).sort((a, b) =>
    (a.webkitRelativePath || a.name).localeCompare(b.webkitRelativePath || b.name, "en", { numeric: true }));
  if (!pictures.length) complain("There is no image in this folder; PNG, JPEG, BMP, TIFF and DICOM files count.");
  session.add(pictures);
}

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // 100 at a time
    if (!some.length) return found;
    for (const one of some) found.push(...(await filesOf(one)));
  }
}

function setUpFiles() {
  for (const name of ["add-images", "choose-images"]) $(`#${name}`).addEventListener("click", () => $("#files").click());
  for (const name of ["add-folder", "choose-folder"]) $(`#${name}`).addEventListener("click", () => $("#folder").click());
  const take = (input, add) =>
    input.addEventListener("change", () => {
      add(input.files);
      input.value = ""; // so that the same file can be chosen again
    });
  take($("#files"), (files) => session.add(files));
  take($("#folder"), addFolder);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    if (!entries.some((entry) => entry.isDirectory)) {
      if (event.dataTransfer.files.length) session.add(event.dataTransfer.files);
      return;
    }
    const files = await Promise.all(entries.map(filesOf)).catch(() => null);
    if (files) addFolder(files.flat());
    else complain("The folder could not be read; choose it with the button instead.");
  });
}

// --- models ----------------------------------------------------------------------------------------------------

function fillModels() {
  const options = () => session.models.map(({ name }) => make("option", { value: name, textContent: name }));
  $("#model").replaceChildren(...options());
  $("#second").replaceChildren(make("option", { value: "", textContent: "nothing" }), ...options());
  $("#second-field").hidden = session.models.length < 2;
}

function showModels() {
  $("#model").value = session.model;
  $("#second").value = session.second ?? "";
  showCards([session.model, session.second].filter(Boolean).map((name) => session.modelNamed(name)));
  for (const option of $$("#second option")) option.disabled = option.value === session.model;
  const { classes, labels, explanations = [] } = session.modelNamed(session.model);
  $("#class-field").hidden = classes.length < 2;
  $("#class").replaceChildren(...classes.map((name, at) => make("option", { value: at + 1, textContent: name })));
  settings.index = 1;
  $("#threshold-field").hidden = classes.length !== 1;
  if (!explanations.includes(session.method)) session.method = explanations[0] ?? null;
  $("#method").replaceChildren(...explanations.map((name) => make("option", { value: name, textContent: name })));
  $("#method").value = session.method ?? "";
  $("#save").title = labels.length ? "Store mask and label on the server (Ctrl+S)" : "Store the mask on the server (Ctrl+S)";
}

function nextSecond() {
  if (session.models.length < 2) return;
  const names = ["", ...session.models.map(({ name }) => name).filter((name) => name !== session.model)];
  const next = names[(names.indexOf(session.second ?? "") + 1) % names.length];
  session.use(session.model, next || null);
}

// --- mask ------------------------------------------------------------------------------------------------------

function chooseTool(name) {
  viewer.tool = name;
  for (const button of $$("[data-tool]")) button.setAttribute("aria-pressed", String(button.dataset.tool === name));
  $("#stage").toggleAttribute("data-draws", viewer.draws);
  viewer.cursorAt(null);
}

/** The slider goes from 1 pixel to a quarter of the image, in steps that feel equal. */
function setBrush(position) {
  const slider = $("#size");
  slider.value = String(Math.min(100, Math.max(0, position)));
  const largest = viewer.size ? Math.max(64, Math.max(viewer.size.width, viewer.size.height) / 4) : 256;
  const diameter = Math.max(1, Math.round(largest ** (Number(slider.value) / 100)));
  viewer.radius = diameter / 2;
  $("#size-value").textContent = `${diameter} px`;
  viewer.sizeCursor();
}

/** Go to the slice before or behind, where there are slices; else the brush becomes smaller or larger. */
function turn(by) {
  const item = session.current;
  if (!item?.several) setBrush(Number($("#size").value) + 5 * by);
  else if (!session.turn(item.slice + by)) say(by > 0 ? "This is the last slice." : "This is the first slice.");
}

function withMask(act) {
  const current = active();
  if (!current) return;
  act(current.mask, current);
  changed();
}

function fillHoles() {
  withMask((mask) => {
    const holes = holesOf(mask.mask, mask.width, mask.height, settings.index);
    if (!mask.fill((i) => holes[i] === 1, settings.index)) say("There is no hole to fill.");
  });
}

function chooseClass(index) {
  const known = session.modelNamed(session.model)?.classes.length ?? 1;
  if (index > known) return;
  settings.index = index;
  $("#class").value = String(index);
  if (session.map === "probability" && known > 1) show();
}

function setUpMask() {
  for (const button of $$("[data-tool]")) button.addEventListener("click", () => chooseTool(button.dataset.tool));
  $("#size").addEventListener("input", (event) => setBrush(Number(event.target.value)));
  $("#class").addEventListener("change", (event) => chooseClass(Number(event.target.value)));
  viewer.addEventListener("stroke", ({ detail: { x0, y0, x1, y1 } }) => {
    const mask = active()?.mask;
    if (!mask) return;
    mask.paint(x0, y0, x1, y1, viewer.radius, viewer.tool === "brush" ? settings.index : 0);
    refreshMask();
  });
  viewer.addEventListener("strokeend", () => withMask((mask) => mask.endStroke()));
  $("#threshold").addEventListener("input", (event) => {
    active()?.mask.setThreshold(Number(event.target.value), false);
    refreshMask();
  });
  $("#threshold").addEventListener("change", (event) => withMask((mask) => mask.setThreshold(Number(event.target.value))));
  for (const [name, act] of Object.entries(actions)) {
    if (["undo", "redo", "holes", "reset", "clear", "save"].includes(name)) $(`#${name}`).addEventListener("click", act);
  }
  $("#label").addEventListener("change", (event) => {
    if (session.current) session.current.label = event.target.value || null;
    changed();
  });
  $("#comment").addEventListener("input", (event) => {
    if (session.current) session.current.comment = event.target.value;
    changed();
  });
  for (const button of $$("[data-download]")) {
    button.addEventListener("click", async () => {
      const current = active();
      if (!current) return;
      button.disabled = true;
      const spacing = spacingOf(current.item, current.answer);
      await offer(button.dataset.download, { ...current, spacing, author: $("#author").value.trim() || null }).catch(
        (error) => complain(`The file could not be made: ${error.message}`));
      button.disabled = false;
    });
  }
}

const actions = {
  next: () => list.step(1),
  previous: () => list.step(-1),
  brush: () => chooseTool("brush"),
  erase: () => chooseTool("erase"),
  pan: () => chooseTool("pan"),
  back: () => turn(-1),
  forth: () => turn(1),
  smaller: () => setBrush(Number($("#size").value) - 5),
  larger: () => setBrush(Number($("#size").value) + 5),
  chooseClass,
  undo: () => withMask((mask) => mask.undo()),
  redo: () => withMask((mask) => mask.redo()),
  holes: fillHoles,
  clear: () => withMask((mask) => mask.clear()),
  reset: () => withMask((mask) => mask.reset()),
  save: () => {
    const { item, model, answer, mask } = shown ?? {};
    if (!answer || item !== session.current || item.draft(model.name).saving === "saving") return;
    if (mask || labelOf(item, model) !== null) save(item, model, answer, mask);
    else complain("There is nothing to save yet; choose a label first.");
  },
  nextMap: () => {
    const names = ["none", ...Object.keys(MAPS)];
    session.show(names[(names.indexOf(session.map) + 1) % names.length], session.method);
  },
  hide: () => set({ hidden: !settings.hidden }),
  compare: nextSecond,
  difference: () => {
    $("#difference").checked = !settings.difference;
    set({ difference: !settings.difference });
  },
  zoomIn: () => viewer.zoom(1.25),
  zoomOut: () => viewer.zoom(0.8),
  fit: () => viewer.fit(),
  shift: (x, y) => viewer.shift(x, y),
  help: () => $("#help").showModal(),
  hold: (held) => {
    viewer.held = held;
    $("#stage").toggleAttribute("data-draws", viewer.draws);
    if (held) viewer.cursorAt(null);
  },
};

// --- view ------------------------------------------------------------------------------------------------------

function setUpView() {
  const pressed = { "zoom-in": "zoomIn", "zoom-out": "zoomOut", "zoom-fit": "fit", previous: "previous", next: "next",
    "slice-back": "back", "slice-forth": "forth" };
  for (const [name, act] of Object.entries(pressed)) $(`#${name}`).addEventListener("click", actions[act]);
  $("#zoom-real").addEventListener("click", () => viewer.actualSize());
  viewer.addEventListener("size", () => setBrush(Number($("#size").value)));
  viewer.addEventListener("zoom", () => ($("#zoom-value").textContent = `${viewer.percent} %`));
  for (const name of ["fill", "opacity"]) {
    $(`#${name}`).addEventListener("input", (event) => {
      $(`#${name}-value`).textContent = `${event.target.value} %`;
      set({ [name]: Number(event.target.value) / 100 });
    });
  }
  for (const name of ["outlined", "behind", "difference"]) {
    $(`#${name}`).addEventListener("change", (event) => set({ [name]: event.target.checked }));
  }
  $("#map").addEventListener("change", (event) => session.show(event.target.value, session.method));
  $("#method").addEventListener("change", (event) => session.show(session.map, event.target.value));
  $("#model").addEventListener("change", (event) => session.use(event.target.value, session.second));
  $("#second").addEventListener("change", (event) => session.use(session.model, event.target.value || null));
  $("#spacing").addEventListener("change", (event) => {
    const spacing = readSpacing(event.target.value);
    event.target.setAttribute("aria-invalid", String(spacing === undefined));
    if (spacing === undefined) complain("The spacing is one or two numbers of millimetres above 0, such as 0.1 or 0.1, 0.2.");
    else if (session.current) session.setSpacing(session.current, spacing);
  });
  $("#slice").addEventListener("change", (event) => {
    const { target } = event;
    if (target.value !== "" && target.validity.valid) session.turn(Number(target.value));
    else if (session.current) complain(`The slice is a whole number from 0 to ${session.current.slices - 1}.`);
    target.value = String(session.current?.slice ?? 0);
  });
  $("#retry").addEventListener("click", () => session.current && session.retry(session.current));
  $("#complaint button").addEventListener("click", () => complain(null));
  $("#help-button").addEventListener("click", actions.help);
  for (const button of $$("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
  // Seconds that each image is looked at; a tab in the background does not count.
  setInterval(() => {
    if (session.current && !document.hidden) session.current.seconds += 0.5;
  }, 500);
}

onTokenWanted(
  () =>
    new Promise((resolve) => {
      const dialog = $("#token");
      $("#token-value").value = "";
      dialog.addEventListener("close", () => resolve(dialog.returnValue ? $("#token-value").value.trim() || null : null), {
        once: true,
      });
      if (!dialog.open) dialog.showModal();
    }),
);

async function start() {
  setUpFiles();
  setUpMask();
  setUpView();
  list.setUp();
  setUpRegions();
  listen(actions);
  setBrush(60);
  session.addEventListener("model", () => {
    showModels();
    show();
  });
  session.addEventListener("select", show);
  session.addEventListener("map", () => {
    $("#map").value = session.map;
    show();
  });
  session.addEventListener("spacing", show);
  session.addEventListener("slice", ({ detail }) => detail.item === session.current && show());
  session.addEventListener("status", ({ detail }) => detail.item === session.current && show());
  await setUpSaving();
  try {
    session.models = await getModels();
    fillModels();
    session.use(session.models[0].name, null);
  } catch (error) {
    complain(`The models cannot be listed: ${error.message}`);
  }
}

start();
