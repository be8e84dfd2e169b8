// Shapes on the pixel grid: the brush, holes, outlines, and what is measured of a mask.
//
// Pixel (column, row) covers [column, column + 1] x [row, row + 1]; its centre is at + 0.5.

/** Call `each(row, from, to)` for the pixels [from, to) of each row whose centres are within `radius` of a line. */
export function capsuleRows(x0, y0, x1, y1, radius, width, height, each) {
  const dx = x1 - x0;
  const dy = y1 - y0;
  const length = Math.hypot(dx, dy);
  const corners = [];
  if (length > 0) {
    const nx = (-dy / length) * radius;
    const ny = (dx / length) * radius;
    corners.push([x0 + nx, y0 + ny], [x1 + nx, y1 + ny], [x1 - nx, y1 - ny], [x0 - nx, y0 - ny]);
  }
  const top = Math.max(0, Math.ceil(Math.min(y0, y1) - radius - 0.5));
  const bottom = Math.min(height - 1, Math.floor(Math.max(y0, y1) + radius - 0.5));
  for (let row = top; row <= bottom; row += 1) {
    const y = row + 0.5;
    let low = Infinity;
    let high = -Infinity;
    for (const [cx, cy] of [[x0, y0], [x1, y1]]) {
      const half = radius * radius - (y - cy) * (y - cy);
      if (half < 0) continue;
      low = Math.min(low, cx - Math.sqrt(half));
      high = Math.max(high, cx + Math.sqrt(half));
    }
    for (let k = 0; k < corners.length; k += 1) {
      const [ax, ay] = corners[k];
      const [bx, by] = corners[(k + 1) % 4];
      if (ay === by || (y - ay) * (y - by) > 0) continue;
      const x = ax + ((y - ay) / (by - ay)) * (bx - ax);
      low = Math.min(low, x);
      high = Math.max(high, x);
    }
    const from = Math.max(0, Math.ceil(low - 0.5));
    const to = Math.min(width, Math.floor(high - 0.5) + 1);
    if (from < to) each(row, from, to);
  }
}

/** Mark the background pixels that a class encloses (4-connected background): Uint8Array, 1 inside a hole. */
export function holesOf(mask, width, height, index) {
  const outside = new Uint8Array(mask.length); // not of the class, and joined to the frame
  const stack = [];
  const visit = (i) => {
    if (!outside[i] && mask[i] !== index) {
      outside[i] = 1;
      stack.push(i);
    }
  };
  for (let x = 0; x < width; x += 1) {
    visit(x);
    visit((height - 1) * width + x);
  }
  for (let y = 0; y < height; y += 1) {
    visit(y * width);
    visit(y * width + width - 1);
  }
  while (stack.length) {
    const i = stack.pop();
    const x = i % width;
    if (x > 0) visit(i - 1);
    if (x < width - 1) visit(i + 1);
    if (i >= width) visit(i - width);
    if (i < mask.length - width) visit(i + width);
  }
  for (let i = 0; i < mask.length; i += 1) outside[i] = !outside[i] && mask[i] === 0 ? 1 : 0;
  return outside;
}

/**
 * Trace a class along the edges of its pixels; regions that touch only at a corner are one (8-connected).
 *
 * @returns {number[][][][]} polygons as in GeoJSON: [outer ring, hole, ...], rings closed, in (x, y) pixel
 *   corners; filling them by the even-odd rule gives back the mask exactly
 */
export function polygonsOf(mask, width, height, index) {
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x] === index;
  const wide = width + 1;
  const used = new Uint8Array(wide * (height + 1)); // bit d: the edge that leaves this corner in direction d
  const steps = [[1, 0], [0, 1], [-1, 0], [0, -1]];
  // Whether an edge of direction d leaves corner (x, y) with the class on its right hand (y points down).
  const leaves = (x, y, d) => {
    if (d === 0) return inside(x, y) && !inside(x, y - 1);
    if (d === 1) return inside(x - 1, y) && !inside(x, y);
    if (d === 2) return inside(x - 1, y - 1) && !inside(x - 1, y);
    return inside(x, y - 1) && !inside(x - 1, y - 1);
  };
  const outer = [];
  const holes = [];
  for (let y = 0; y <= height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      for (const first of [0, 2]) {
        const sx = first === 0 ? x : x + 1;
        if (used[y * wide + sx] & (1 << first) || !leaves(sx, y, first)) continue;
        const ring = [];
        let [cx, cy, d] = [sx, y, first];
        let last = -1;
        let area = 0;
        do {
          used[cy * wide + cx] |= 1 << d;
          if (d !== last) ring.push([cx, cy]);
          const nx = cx + steps[d][0];
          const ny = cy + steps[d][1];
          area += cx * ny - nx * cy;
          last = d;
          [cx, cy] = [nx, ny];
          // At a corner where two pixels touch, turn left: around both of them.
          d = [(d + 3) % 4, d, (d + 1) % 4].find((turn) => leaves(cx, cy, turn));
        } while (cx !== sx || cy !== y || d !== first);
        if (last === first) ring.shift(); // the start lies in the middle of a side
        ring.push(ring[0]);
        (area > 0 ? outer : holes).push({ ring, area });
      }
    }
  }
  return nest(outer, holes);
}

function nest(outer, holes) {
  outer.sort((a, b) => a.area - b.area);
  const polygons = outer.map((one) => ({ rings: [one.ring], box: boxOf(one.ring), outer: one.ring }));
  for (const { ring } of holes) {
    // A point beside the hole's first side, on its right hand, where the class is.
    const [[ax, ay], [bx, by]] = ring;
    const point = [(ax + bx) / 2 - Math.sign(by - ay) * 0.25, (ay + by) / 2 + Math.sign(bx - ax) * 0.25];
    const home = polygons.find(
      ({ box, outer: around }) =>
        box[0] <= point[0] && point[0] <= box[2] && box[1] <= point[1] && point[1] <= box[3] && within(point, around),
    );
    home.rings.push(ring);
  }
  return polygons.map(({ rings }) => rings);
}

function boxOf(ring) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of ring) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}

function within([x, y], ring) {
  let odd = false;
  for (let i = 1; i < ring.length; i += 1) {
    const [ax, ay] = ring[i - 1];
    const [bx, by] = ring[i];
    if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) odd = !odd;
  }
  return odd;
}

/**
 * Measure what a mask covers, class by class.
 *
 * @param {number[]|null} spacing mm of a pixel: [height, width]
 * @returns {object[]} of the classes that are there: index, pixels, box [x, y, width, height], centre [x, y],
 *   and in mm (null without spacing) area, diameter (of a disc of this area), extent [width, height]
 */
export function measure(mask, width, height, classes, spacing) {
  const found = [];
  for (let index = 1; index <= classes; index += 1) {
    let [pixels, sx, sy] = [0, 0, 0];
    let [left, top, right, bottom] = [width, height, -1, -1];
    for (let y = 0, i = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1, i += 1) {
        if (mask[i] !== index) continue;
        pixels += 1;
        sx += x;
        sy += y;
        if (x < left) left = x;
        if (x > right) right = x;
        if (y < top) top = y;
        bottom = y;
      }
    }
    if (!pixels) continue;
    const area = spacing ? pixels * spacing[0] * spacing[1] : null;
    const box = [left, top, right - left + 1, bottom - top + 1];
    found.push({
      index,
      pixels,
      box,
      centre: [sx / pixels + 0.5, sy / pixels + 0.5],
      diameter: 2 * Math.sqrt(pixels / Math.PI),
      area_mm2: area,
      diameter_mm: spacing ? 2 * Math.sqrt(area / Math.PI) : null,
      extent_mm: spacing ? [box[2] * spacing[1], box[3] * spacing[0]] : null,
    });
  }
  return found;
}

/** Dice of two masks over all classes' pixels; null when both are empty. */
export function dice(a, b) {
  let [both, sizes] = [0, 0];
  for (let i = 0; i < a.length; i += 1) {
    sizes += (a[i] !== 0) + (b[i] !== 0);
    if (a[i] !== 0 && a[i] === b[i]) both += 1;
  }
  return sizes ? (2 * both) / sizes : null;
}
