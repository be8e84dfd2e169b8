// Draw masks, outlines and maps at the screen's resolution.
//
// The mask is sampled once per screen pixel, so a frame costs the same for a small and for a huge image, and
// an outline is as thin on the screen at any zoom.

import { colourOf, ONLY_FIRST, ONLY_SECOND, REFERENCE } from "./colours.js";

const OUTSIDE = 0;
const CASING = 115; // of 255: darkness of the line's border, so that it shows on bright skin too

/** For each of `count` screen pixels the image pixel under its centre, or -1. */
function places(count, origin, scale, size) {
  const found = new Int32Array(count);
  for (let i = 0; i < count; i += 1) {
    const at = Math.floor((i + 0.5 - origin) / scale);
    found[i] = at >= 0 && at < size ? at : -1;
  }
  return found;
}

/** The values under each screen pixel, background outside the image. */
function sample(values, columns, rows, stride) {
  const found = new Uint8Array(columns.length * rows.length);
  let to = 0;
  for (const row of rows) {
    if (row < 0) {
      to += columns.length;
      continue;
    }
    const offset = row * stride;
    for (let i = 0; i < columns.length; i += 1, to += 1) {
      const column = columns[i];
      found[to] = column < 0 ? OUTSIDE : values[offset + column];
    }
  }
  return found;
}

/** Lay a colour over one screen pixel. */
function over(data, at, [r, g, b], alpha) {
  const below = data[at + 3];
  if (!below) {
    data[at] = r;
    data[at + 1] = g;
    data[at + 2] = b;
    data[at + 3] = alpha;
    return;
  }
  const a = alpha / 255;
  const keep = (below / 255) * (1 - a);
  const total = a + keep;
  data[at] = (r * a + data[at] * keep) / total;
  data[at + 1] = (g * a + data[at + 1] * keep) / total;
  data[at + 2] = (b * a + data[at + 2] * keep) / total;
  data[at + 3] = total * 255;
}

/** Outline what differs from its neighbours: a line inside the region, a darker one around it. */
function outline(data, found, width, height, thick, colour, alpha, gap) {
  const casing = [0, 0, 0];
  for (let y = 0, i = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, i += 1) {
      const value = found[i];
      const reach = value ? thick : 1;
      const up = y >= reach ? -reach * width : 0;
      const down = y < height - reach ? reach * width : 0;
      const left = found[x >= reach ? i - reach : i];
      const right = found[x < width - reach ? i + reach : i];
      const above = found[i + up];
      const below = found[i + down];
      if (value === left && value === right && value === above && value === below) continue;
      if (gap && (x + y) % (2 * gap) < gap) continue;
      if (value) over(data, 4 * i, colour ?? colourOf(value), alpha);
      else if (!gap) over(data, 4 * i, casing, CASING);
    }
  }
}

/**
 * Draw one pane's overlay.
 *
 * @param {CanvasRenderingContext2D} context of the overlay's canvas, `width` x `height` device pixels
 * @param {object} view scale (device pixels per image pixel), x, y (device pixel of the image's corner)
 * @param {object} layers
 *   mask, width, height; fill (0..1), outlined; behind: the model's mask or null;
 *   map: {values, width, height, table, opacity} or null;
 *   difference: {first, second} masks or null, which replaces the fill
 */
export function drawOverlay(context, width, height, view, layers) {
  context.clearRect(0, 0, width, height);
  const size = layers.width;
  const left = Math.max(0, Math.floor(view.x) - 3);
  const top = Math.max(0, Math.floor(view.y) - 3);
  const right = Math.min(width, Math.ceil(view.x + layers.width * view.scale) + 3);
  const bottom = Math.min(height, Math.ceil(view.y + layers.height * view.scale) + 3);
  const w = right - left;
  const h = bottom - top;
  if (w <= 0 || h <= 0) return;
  const picture = context.createImageData(w, h);
  const { data } = picture;
  const columns = places(w, view.x - left, view.scale, layers.width);
  const rows = places(h, view.y - top, view.scale, layers.height);

  if (layers.map) drawMap(data, layers.map, { w, h, left, top, view, size: [layers.width, layers.height] });
  if (layers.difference) {
    const first = sample(layers.difference.first, columns, rows, size);
    const second = sample(layers.difference.second, columns, rows, size);
    for (let i = 0; i < first.length; i += 1) {
      if (first[i] !== second[i]) over(data, 4 * i, first[i] ? ONLY_FIRST : ONLY_SECOND, 150);
    }
  }
  if (layers.mask) {
    const found = sample(layers.mask, columns, rows, size);
    const alpha = layers.difference ? 0 : Math.round(255 * layers.fill);
    if (alpha) {
      for (let i = 0; i < found.length; i += 1) if (found[i]) over(data, 4 * i, colourOf(found[i]), alpha);
    }
    const thick = Math.max(1, Math.round(2 * (window.devicePixelRatio || 1)));
    const line = layers.difference ? REFERENCE : null; // the difference has the classes' colours itself
    if (layers.outlined && layers.behind) {
      outline(data, sample(layers.behind, columns, rows, size), w, h, 1, REFERENCE, 235, 4);
    }
    if (layers.outlined) outline(data, found, w, h, thick, line, 255, 0);
  }
  context.putImageData(picture, left, top);
}

function drawMap(data, map, { w, h, left, top, view, size }) {
  const columns = places(w, view.x - left, (view.scale * size[0]) / map.width, map.width);
  const rows = places(h, view.y - top, (view.scale * size[1]) / map.height, map.height);
  const { table, values, opacity } = map;
  for (let y = 0, to = 0; y < h; y += 1) {
    if (rows[y] < 0) {
      to += 4 * w;
      continue;
    }
    const offset = rows[y] * map.width;
    for (let x = 0; x < w; x += 1, to += 4) {
      if (columns[x] < 0) continue;
      const from = 4 * values[offset + columns[x]];
      data[to] = table[from];
      data[to + 1] = table[from + 1];
      data[to + 2] = table[from + 2];
      data[to + 3] = table[from + 3] * opacity;
    }
  }
}
