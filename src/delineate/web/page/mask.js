// The mask of one image while somebody corrects it: model, threshold, strokes, undo.
//
// mask[i] is the stroke's class where somebody drew, else what the model says at the threshold. Strokes are
// kept apart from the model's answer, so that the threshold can still be moved after drawing.

import { capsuleRows } from "./geometry.js";

const UNTOUCHED = 255; // in `edit`: nobody drew here
const MOST_STEPS = 500;
const MOST_BYTES = 64 * 2 ** 20;

/** What one step changed, as runs of pixels; grows while a stroke is drawn. */
class Runs {
  constructor() {
    this.count = 0;
    this.room(256);
  }

  room(size) {
    const grown = (Kind, old) => {
      const array = new Kind(size);
      if (old) array.set(old);
      return array;
    };
    this.start = grown(Uint32Array, this.start);
    this.length = grown(Uint32Array, this.length);
    this.before = grown(Uint8Array, this.before);
    this.after = grown(Uint8Array, this.after);
  }

  add(start, length, before, after) {
    if (this.count === this.start.length) this.room(2 * this.count);
    this.start[this.count] = start;
    this.length[this.count] = length;
    this.before[this.count] = before;
    this.after[this.count] = after;
    this.count += 1;
  }

  /** Join runs that lie side by side, as a stroke comes in slivers, and give back the spare room. */
  pack() {
    const { start, length, before, after, count } = this;
    const order = Uint32Array.from({ length: count }, (_, i) => i).sort((a, b) => start[a] - start[b]);
    // Pixels that changed twice, brushed and erased in one stroke, must be put back in their order.
    const joins = order.every((i, at) => at === 0 || start[order[at - 1]] + length[order[at - 1]] <= start[i]);
    this.count = 0;
    Object.assign(this, { start: null, length: null, before: null, after: null });
    this.room(16);
    for (let at = 0; at < count; at += 1) {
      const i = joins ? order[at] : at;
      const last = this.count - 1;
      const beside = last >= 0 && this.start[last] + this.length[last] === start[i];
      if (beside && this.before[last] === before[i] && this.after[last] === after[i]) this.length[last] += length[i];
      else this.add(start[i], length[i], before[i], after[i]);
    }
    for (const name of ["start", "length", "before", "after"]) this[name] = this[name].slice(0, this.count);
  }

  get bytes() {
    return 10 * this.start.length;
  }
}

export class MaskDocument {
  /**
   * @param {object} given
   * @param {number} given.width in pixels, of the image itself
   * @param {number} given.height in pixels
   * @param {string[]} given.classes without the background
   * @param {number} given.threshold of the model, in [0, 1]
   * @param {Uint8Array} given.predicted class index of each pixel, row by row
   * @param {Uint8Array|null} given.probability 0..255 of each pixel, one class only
   */
  constructor({ width, height, classes, threshold, predicted, probability = null }) {
    Object.assign(this, { width, height, classes, predicted, probability });
    this.modelThreshold = this.threshold = threshold;
    this.edit = new Uint8Array(predicted.length).fill(UNTOUCHED);
    this.mask = predicted.slice();
    this.counts = new Float64Array(256); // of pixels by class
    this.count();
    this.undone = [];
    this.done = [];
    this.bytes = 0;
    this.stroke = null;
    this.drawn = 0; // pixels that strokes hold
    this.version = 0; // changes with every change of the mask
  }

  count() {
    const counts = new Uint32Array(256);
    const { mask } = this;
    for (let i = 0; i < mask.length; i += 1) counts[mask[i]] += 1;
    this.counts.set(counts);
  }

  /** Whether the mask can differ from the model's. */
  get edited() {
    return this.drawn > 0 || this.threshold !== this.modelThreshold;
  }

  /** Number of pixels of a class, or of all classes. */
  pixels(index = null) {
    return index === null ? this.mask.length - this.counts[0] : this.counts[index];
  }

  /** The model's class of a pixel at the threshold in force. */
  modelAt(i) {
    if (!this.probability || this.threshold === this.modelThreshold) return this.predicted[i];
    return this.probability[i] > this.threshold * 255 ? 1 : 0;
  }

  /** Move the threshold; strokes stay. One drag of the slider is one step of undo (`commit` at its end). */
  setThreshold(threshold, commit = true) {
    if (!this.probability) return;
    this.dragFrom ??= this.threshold;
    this.applyThreshold(threshold);
    if (!commit) return;
    const before = this.dragFrom;
    this.dragFrom = null;
    if (before !== threshold) this.push({ threshold: [before, threshold], runs: null });
  }

  applyThreshold(threshold) {
    this.threshold = threshold;
    const { mask, edit, predicted, probability } = this;
    const own = threshold === this.modelThreshold;
    const limit = threshold * 255;
    for (let i = 0; i < mask.length; i += 1) {
      if (edit[i] !== UNTOUCHED) mask[i] = edit[i];
      else mask[i] = own ? predicted[i] : probability[i] > limit ? 1 : 0;
    }
    this.count();
    this.version += 1;
  }

  /** Write one value into a run of `edit`, and the mask and the counts that follow. */
  write(start, length, value) {
    const { mask, edit, counts } = this;
    for (let i = start; i < start + length; i += 1) {
      this.drawn += (value !== UNTOUCHED) - (edit[i] !== UNTOUCHED);
      edit[i] = value;
      const shown = value === UNTOUCHED ? this.modelAt(i) : value;
      if (shown !== mask[i]) {
        counts[mask[i]] -= 1;
        counts[shown] += 1;
        mask[i] = shown;
      }
    }
    this.version += 1;
  }

  /** Change pixels [start, end) to `value` and remember what was there. */
  change(runs, start, end, value) {
    const { edit } = this;
    let i = start;
    while (i < end) {
      const before = edit[i];
      let stop = i + 1;
      while (stop < end && edit[stop] === before) stop += 1;
      if (before !== value) {
        runs.add(i, stop - i, before, value);
        this.write(i, stop - i, value);
      }
      i = stop;
    }
  }

  /** Draw from (x0, y0) to (x1, y1), in pixels with (0, 0) the image's corner; centres within `radius` count. */
  paint(x0, y0, x1, y1, radius, value) {
    this.stroke ??= new Runs();
    const { width, height } = this;
    capsuleRows(x0, y0, x1, y1, radius, width, height, (row, from, to) =>
      this.change(this.stroke, row * width + from, row * width + to, value),
    );
  }

  /** End a stroke; a stroke that changed nothing is no step. */
  endStroke() {
    const runs = this.stroke;
    this.stroke = null;
    if (runs && runs.count) this.push({ threshold: null, runs });
  }

  /** Give every pixel that `chosen` names the value `value`, as one step; returns how many runs changed. */
  fill(chosen, value) {
    const runs = new Runs();
    const { mask } = this;
    for (let i = 0; i < mask.length; i += 1) {
      if (!chosen(i)) continue;
      let end = i + 1;
      while (end < mask.length && chosen(end)) end += 1;
      this.change(runs, i, end, value);
      i = end - 1;
    }
    if (runs.count) this.push({ threshold: null, runs });
    return runs.count;
  }

  clear() {
    return this.fill((i) => this.mask[i] !== 0, 0);
  }

  /** Back to what the model said, as one step that can be undone. */
  reset() {
    if (!this.edited) return;
    const runs = new Runs();
    this.change(runs, 0, this.edit.length, UNTOUCHED);
    const before = this.threshold;
    if (before !== this.modelThreshold) this.applyThreshold(this.modelThreshold);
    this.push({ threshold: [before, this.modelThreshold], runs });
  }

  push(step) {
    step.runs?.pack();
    this.undone = [];
    this.done.push(step);
    this.bytes = this.done.reduce((sum, one) => sum + (one.runs?.bytes ?? 0), 0);
    while (this.done.length > MOST_STEPS || (this.bytes > MOST_BYTES && this.done.length > 1)) {
      this.bytes -= this.done.shift().runs?.bytes ?? 0;
    }
  }

  undo() {
    const step = this.done.pop();
    if (!step) return false;
    this.undone.push(step);
    const { runs, threshold } = step;
    for (let i = (runs?.count ?? 0) - 1; i >= 0; i -= 1) this.write(runs.start[i], runs.length[i], runs.before[i]);
    if (threshold) this.applyThreshold(threshold[0]);
    return true;
  }

  redo() {
    const step = this.undone.pop();
    if (!step) return false;
    this.done.push(step);
    const { runs, threshold } = step;
    for (let i = 0; i < (runs?.count ?? 0); i += 1) this.write(runs.start[i], runs.length[i], runs.after[i]);
    if (threshold) this.applyThreshold(threshold[1]);
    return true;
  }

  /** Put back strokes that were set aside; their undo is gone. */
  restore(edit, threshold) {
    this.edit.set(edit);
    this.drawn = edit.reduce((sum, value) => sum + (value !== UNTOUCHED), 0);
    this.applyThreshold(this.probability ? threshold : this.modelThreshold);
  }
}
