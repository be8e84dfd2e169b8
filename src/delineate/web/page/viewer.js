// The stage: one or two panes that show the same place of the same image, moved, zoomed and drawn on.

import { drawOverlay } from "./overlay.js";
import { drawPicture } from "./pictures.js";

const LARGEST_SCALE = 40; // device pixels per image pixel
const DENSEST = 2; // device pixels per CSS pixel that are drawn
const STEP = 0.15; // of the window, by which a key moves the image

/** One view of the image with the overlay of one model. */
class Pane {
  constructor(element) {
    this.element = element;
    this.image = element.querySelector(".picture");
    this.overlay = element.querySelector(".overlay");
    this.layers = null; // () => layers of `drawOverlay`, or null while there is no answer
  }

  get box() {
    return this.overlay.getBoundingClientRect();
  }

  resize(density) {
    const width = Math.max(1, Math.round(this.element.clientWidth * density));
    const height = Math.max(1, Math.round(this.element.clientHeight * density));
    for (const canvas of [this.image, this.overlay]) {
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    }
  }
}

export class Viewer extends EventTarget {
  /**
   * @param {HTMLElement} stage with elements `.pane`, each with two canvases and a `.cursor`
   * Events: "stroke" {x0, y0, x1, y1} in image pixels, "strokeend", "zoom".
   */
  constructor(stage) {
    super();
    this.stage = stage;
    this.panes = [...stage.querySelectorAll(".pane")].map((element) => new Pane(element));
    this.view = { scale: 1, x: 0, y: 0 };
    this.size = null; // {width, height} of the image
    this.picture = null;
    this.tool = "pan";
    this.radius = 10; // image pixels
    this.held = false; // the space bar: pan whatever the tool is
    this.pointers = new Map();
    this.fitted = true;
    new ResizeObserver(() => this.resized()).observe(stage);
    for (const pane of this.panes) this.listen(pane);
  }

  get density() {
    return Math.min(DENSEST, window.devicePixelRatio || 1);
  }

  /** Percent of the image's own size, in device pixels. */
  get percent() {
    return Math.round(100 * this.view.scale);
  }

  show(picture, size) {
    const same = this.size && size && this.size.width === size.width && this.size.height === size.height;
    this.picture = picture;
    this.size = size;
    if (!same || this.fitted) this.fit();
    this.draw(true);
    if (!same) this.dispatchEvent(new Event("size"));
  }

  resized() {
    for (const pane of this.panes) pane.resize(this.density);
    if (this.fitted) this.fit();
    else this.draw(true);
  }

  fit() {
    const [first] = this.panes;
    first.resize(this.density);
    if (!this.size) return;
    const { width, height } = first.overlay;
    const margin = 8 * this.density;
    const scale = Math.min((width - margin) / this.size.width, (height - margin) / this.size.height, 8);
    this.view = {
      scale: Math.max(scale, 1e-3),
      x: (width - scale * this.size.width) / 2,
      y: (height - scale * this.size.height) / 2,
    };
    this.fitted = true;
    this.moved();
  }

  /** Zoom by a factor around a point of the canvas (device pixels; its middle when not given). */
  zoom(factor, at = null) {
    if (!this.size) return;
    const { width, height } = this.panes[0].overlay;
    const [px, py] = at ?? [width / 2, height / 2];
    const smallest = Math.min(1, 0.25 * Math.min(width / this.size.width, height / this.size.height));
    const scale = Math.min(LARGEST_SCALE, Math.max(smallest, this.view.scale * factor));
    const step = scale / this.view.scale;
    this.view = { scale, x: px - (px - this.view.x) * step, y: py - (py - this.view.y) * step };
    this.fitted = false;
    this.moved();
  }

  actualSize() {
    this.zoom(1 / this.view.scale);
  }

  pan(dx, dy) {
    this.view.x += dx;
    this.view.y += dy;
    this.fitted = false;
    this.moved();
  }

  /** Go on by a part of the window to the right (x) and down (y), as keys do. */
  shift(x, y) {
    const { width, height } = this.panes[0].overlay;
    if (this.size) this.pan(-x * STEP * width, -y * STEP * height);
  }

  moved() {
    this.dispatchEvent(new Event("zoom"));
    this.sizeCursor();
    this.draw(true);
  }

  /** Draw in the next frame; `all` also the picture below the overlay. */
  draw(all = false) {
    this.all ||= all;
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      const whole = this.all;
      this.all = false;
      for (const pane of this.panes) if (!pane.element.hidden) this.paint(pane, whole);
    });
  }

  paint(pane, whole) {
    pane.resize(this.density);
    const { width, height } = pane.overlay;
    if (whole) {
      const context = pane.image.getContext("2d");
      if (this.size) drawPicture(context, width, height, this.view, this.picture, this.size);
      else context.clearRect(0, 0, width, height);
    }
    const context = pane.overlay.getContext("2d");
    const layers = this.size && pane.layers?.();
    if (layers) drawOverlay(context, width, height, this.view, layers);
    else context.clearRect(0, 0, width, height);
  }

  /** Place of a pointer: in device pixels of its pane, and in image pixels. */
  place(pane, event) {
    const { left, top, width } = pane.box;
    const density = pane.overlay.width / Math.max(1, width);
    const at = [(event.clientX - left) * density, (event.clientY - top) * density];
    return { at, x: (at[0] - this.view.x) / this.view.scale, y: (at[1] - this.view.y) / this.view.scale };
  }

  listen(pane) {
    const { element } = pane;
    element.addEventListener("pointerdown", (event) => this.down(pane, event));
    element.addEventListener("pointermove", (event) => this.move(pane, event));
    for (const end of ["pointerup", "pointercancel"]) {
      element.addEventListener(end, (event) => this.up(event));
    }
    element.addEventListener("pointerleave", () => this.cursorAt(null));
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener(
      "wheel",
      (event) => {
        if (!this.size) return;
        event.preventDefault();
        const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
        this.zoom(Math.exp(-0.0016 * lines * event.deltaY), this.place(pane, event).at);
      },
      { passive: false },
    );
  }

  get draws() {
    return (this.tool === "brush" || this.tool === "erase") && !this.held;
  }

  down(pane, event) {
    if (!this.size || event.button > 1) return;
    event.preventDefault();
    this.stage.focus({ preventScroll: true }); // so that keys reach the image, not the last button
    pane.element.setPointerCapture(event.pointerId);
    const place = this.place(pane, event);
    this.pointers.set(event.pointerId, place);
    if (this.pointers.size === 2) {
      this.endStroke();
      return;
    }
    const first = pane === this.panes[0];
    if (this.pointers.size === 1 && this.draws && first && event.button === 0) {
      this.drawing = event.pointerId;
      this.stroke(place, place);
    }
  }

  move(pane, event) {
    this.cursorAt(pane === this.panes[0] ? event : null);
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const place = this.place(pane, event);
    if (this.pointers.size === 2) {
      this.pinch(event.pointerId, place);
      return;
    }
    if (this.drawing === event.pointerId) {
      let last = before;
      const all = event.getCoalescedEvents?.() ?? [];
      for (const one of [...all.slice(0, -1), event]) {
        const next = this.place(pane, one);
        this.stroke(last, next);
        last = next;
      }
    } else {
      this.pan(place.at[0] - before.at[0], place.at[1] - before.at[1]);
    }
    this.pointers.set(event.pointerId, place);
  }

  /** Two fingers: what lies under them stays under them. */
  pinch(id, place) {
    const [other] = [...this.pointers].filter(([key]) => key !== id).map(([, value]) => value);
    const before = this.pointers.get(id);
    const span = (a, b) => Math.hypot(a.at[0] - b.at[0], a.at[1] - b.at[1]);
    const middle = (a, b) => [(a.at[0] + b.at[0]) / 2, (a.at[1] + b.at[1]) / 2];
    const [was, is] = [middle(before, other), middle(place, other)];
    this.pan(is[0] - was[0], is[1] - was[1]);
    this.zoom(span(place, other) / Math.max(1, span(before, other)), is);
    this.pointers.set(id, place);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (this.drawing === event.pointerId) this.endStroke();
  }

  stroke(from, to) {
    const detail = { x0: from.x, y0: from.y, x1: to.x, y1: to.y };
    this.dispatchEvent(new CustomEvent("stroke", { detail }));
  }

  endStroke() {
    if (this.drawing === undefined || this.drawing === null) return;
    this.drawing = null;
    this.dispatchEvent(new Event("strokeend"));
  }

  /** Show the brush's size around the pointer. */
  cursorAt(event) {
    const cursor = this.stage.querySelector(".cursor");
    const visible = Boolean(event) && this.draws && Boolean(this.size) && event.pointerType !== "touch";
    cursor.hidden = !visible;
    if (!visible) return;
    const { left, top } = this.panes[0].box;
    cursor.style.left = `${event.clientX - left}px`;
    cursor.style.top = `${event.clientY - top}px`;
    this.sizeCursor();
  }

  sizeCursor() {
    const cursor = this.stage.querySelector(".cursor");
    const side = (2 * this.radius * this.view.scale) / this.density;
    cursor.style.width = cursor.style.height = `${side}px`;
  }
}
