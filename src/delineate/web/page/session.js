// What is open: the images, what the models said about them, and the masks that are being corrected.

import { predict } from "./api.js";
import { MaskDocument } from "./mask.js";
import { decodeGrey, encodeGrey, readMask } from "./png.js";

const AT_ONCE = 2; // requests
const OPEN_PIXELS = 120e6; // of masks held ready; beyond it the least recent ones are packed

let nextId = 1;

/** What is known about one picture of a file. */
class Shelf {
  answers = new Map(); // model -> the service's answer
  errors = new Map(); // model -> sentence
  masks = new Map(); // model -> promise of a MaskDocument, or what was packed of one
  edited = new Set(); // models whose mask of it somebody changed
}

const URGENCY = ["unsaved", "saving", "kept", "saved"];

/** What became of what a reader made of one file with one model. */
class Draft {
  saving = "none"; // none, unsaved, saving, saved, kept
  kept = null; // key in the outbox
  stored = null; // id on the server
}

/** The label that a reader chose, if the model knows it: another model may have other labels. */
export const labelOf = (item, model) => (model?.labels.includes(item?.label) ? item.label : null);

/** One file that was dropped on the page. */
class Item {
  constructor(file, name) {
    this.id = nextId;
    nextId += 1;
    this.file = file;
    this.name = name;
    this.slices = null; // pictures in the file, once the service has said so
    this.slice = null; // the one on show, from 0; null for a file of one picture
    this.shelves = new Map([[null, new Shelf()]]); // slice -> what is known about it
    this.asked = new Map(); // model -> AbortController of a request that runs
    this.drafts = new Map(); // model -> Draft
    this.label = null; // chosen by the reader; see `labelOf`
    this.comment = "";
    this.seconds = 0; // looked at
    this.spacing = null; // typed by the reader, mm: [row, column]
  }

  get shelf() {
    return this.shelves.get(this.slice);
  }

  get answers() {
    return this.shelf.answers;
  }

  get errors() {
    return this.shelf.errors;
  }

  get masks() {
    return this.shelf.masks;
  }

  draft(model) {
    if (!this.drafts.has(model)) this.drafts.set(model, new Draft());
    return this.drafts.get(model);
  }

  /** What became of it with all models: whatever is least safe. */
  get saving() {
    const states = [...this.drafts.values()].map((draft) => draft.saving);
    return URGENCY.find((state) => states.includes(state)) ?? "none";
  }

  /** Whether somebody changed a mask of a model. */
  edited(model) {
    return [...this.shelves.values()].some((shelf) => shelf.edited.has(model));
  }

  /** Whether it is a volume or a loop, whose corrections the service does not store. */
  get several() {
    return this.slices > 1;
  }

  /** Turn to a slice; requests about another one are given up. */
  turnTo(slice) {
    for (const controller of this.asked.values()) controller.abort();
    this.asked.clear();
    this.slice = slice;
    if (!this.shelves.has(slice)) this.shelves.set(slice, new Shelf());
  }

  /** The service says that the file holds several pictures: the middle one is shown first. */
  learn(slices) {
    if (this.several || !(slices > 1)) return false;
    this.slices = slices;
    this.turnTo(Math.floor(slices / 2));
    return true;
  }
}

class Session extends EventTarget {
  models = [];
  model = null; // name of the first pane's model
  second = null; // of the second pane's, or null
  items = [];
  current = null;
  map = "none"; // what lies over the image; see MAPS
  method = null; // of activation maps
  running = 0;
  storeless = false; // whether the server turned out to have no store

  /** Whether the server stores corrections. */
  get stores() {
    return !this.storeless && this.models.every(({ corrections }) => corrections !== false);
  }

  tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  modelNamed(name) {
    return this.models.find((one) => one.name === name);
  }

  /** Add files; a folder's path stays in the name, so that equal names in two folders differ. */
  add(files) {
    const added = [...files].map((file) => new Item(file, file.webkitRelativePath || file.name));
    this.items.push(...added);
    this.tell("items");
    if (!this.current && added.length) this.select(added[0]);
    this.work();
  }

  remove(item) {
    for (const controller of item.asked.values()) controller.abort();
    const at = this.items.indexOf(item);
    this.items.splice(at, 1);
    if (item.thumbnail) URL.revokeObjectURL(item.thumbnail);
    this.tell("items");
    if (this.current === item) this.select(this.items[Math.min(at, this.items.length - 1)] ?? null);
  }

  select(item) {
    this.current = item;
    this.tell("select");
    this.work();
  }

  /** Show another slice of the current file; beyond its ends nothing happens. */
  turn(slice) {
    const item = this.current;
    if (!item?.several || slice === item.slice || !(slice >= 0 && slice < item.slices)) return false;
    item.turnTo(slice);
    this.tell("slice", { item });
    this.work();
    return true;
  }

  use(model, second) {
    this.model = model;
    this.second = second === model ? null : second;
    this.tell("model");
    this.work();
  }

  show(map, method) {
    this.map = map;
    this.method = method;
    this.tell("map");
    this.work();
  }

  setSpacing(item, spacing) {
    item.spacing = spacing;
    this.tell("spacing");
    this.work();
  }

  /** Whether an answer lacks something that is on show; maps and measurements are asked for when needed. */
  lacks(item, model) {
    if (item.errors.has(model) || item.asked.has(model)) return false;
    const answer = item.answers.get(model);
    if (!answer) return true;
    if (item !== this.current) return false;
    const { wanted } = answer;
    if (this.map === "uncertainty" && !wanted.uncertainty) return true;
    if (this.map === "explanation" && this.explains(model) && wanted.explain !== this.method) return true;
    return String(wanted.spacing) !== String(item.spacing);
  }

  explains(model) {
    const known = this.modelNamed(model)?.explanations;
    return !known || known.includes(this.method);
  }

  next() {
    const models = [this.model, this.second].filter(Boolean);
    const order = this.current ? [this.current, ...this.items] : this.items;
    for (const item of order) {
      for (const model of models) if (this.lacks(item, model)) return [item, model];
    }
    return null;
  }

  work() {
    while (this.running < AT_ONCE && this.model) {
      const job = this.next();
      if (!job) break;
      this.running += 1;
      this.ask(...job).finally(() => {
        this.running -= 1;
        this.work();
      });
    }
  }

  async ask(item, model) {
    const controller = new AbortController();
    item.asked.set(model, controller);
    this.tell("status", { item });
    const { answers, errors, slice } = item; // the reader may turn to another slice meanwhile
    const before = answers.get(model)?.wanted;
    const wanted = {
      spacing: item.spacing,
      uncertainty: this.map === "uncertainty" || Boolean(before?.uncertainty),
      explain: this.map === "explanation" && this.explains(model) ? this.method : (before?.explain ?? null),
    };
    try {
      const answer = await predict(item.file, { model, slice, ...wanted, signal: controller.signal });
      answer.wanted = wanted;
      answers.set(model, answer);
    } catch (error) {
      if (slice === null && item.learn(error.slices)) this.tell("slice", { item });
      else if (error.name !== "AbortError" && !error.slices) errors.set(model, error.message);
    } finally {
      if (item.asked.get(model) === controller) item.asked.delete(model);
    }
    this.tell("status", { item });
  }

  retry(item) {
    item.errors.clear();
    this.tell("status", { item });
    this.work();
  }

  /** The mask of an image by a model, ready to be corrected; null for a model that gives none. */
  mask(item, model) {
    const answer = item.answers.get(model);
    if (!answer?.pictures.mask) return Promise.resolve(null);
    const held = item.masks.get(model);
    if (held instanceof Promise) {
      item.masks.delete(model);
      item.masks.set(model, held); // the most recent one is the last
      return held;
    }
    const opening = this.openMask(item, model, answer, held);
    item.masks.set(model, opening);
    opening.then(
      () => this.packOthers(item),
      () => item.masks.delete(model),
    );
    return opening;
  }

  async openMask(item, model, answer, packed) {
    const { classes, threshold } = this.modelNamed(model);
    const { values, width, height } = await readMask(answer.pictures.mask, classes.length);
    const single = classes.length === 1 && answer.pictures.probability instanceof Blob;
    const probability = single ? (await decodeGrey(answer.pictures.probability)).values : null;
    const mask = new MaskDocument({ width, height, classes, threshold, predicted: values, probability });
    if (packed) mask.restore((await decodeGrey(packed.edit)).values, packed.threshold);
    return mask;
  }

  /** Pack the masks of images that were not looked at lately, when many pixels are held. */
  async packOthers(recent, most = OPEN_PIXELS) {
    let held = 0;
    const order = [recent, ...this.items.filter((one) => one !== recent).sort((a, b) => (b.seen ?? 0) - (a.seen ?? 0))];
    const shelves = order.flatMap((item) => [item.shelf, ...[...item.shelves.values()].filter((one) => one !== item.shelf)]);
    const onShow = (shelf) => shelf === recent.shelf || shelf === this.current?.shelf;
    for (const shelf of shelves) {
      for (const [model, opening] of shelf.masks) {
        if (!(opening instanceof Promise)) continue;
        const mask = await opening.catch(() => null);
        if (!mask) continue;
        held += mask.mask.length;
        if (held <= most || onShow(shelf)) continue;
        if (!mask.edited) {
          shelf.masks.delete(model);
          continue;
        }
        const { version } = mask;
        const edit = await encodeGrey(mask.edit, mask.width, mask.height);
        if (mask.version === version && !onShow(shelf)) shelf.masks.set(model, { edit, threshold: mask.threshold });
      }
    }
  }
}

export const session = new Session();
