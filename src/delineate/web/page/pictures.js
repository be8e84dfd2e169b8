// What a file looks like: decoded once, with smaller copies for drawing it small, and a thumbnail.

import { render } from "./api.js";

const KEPT = 3; // decoded pictures; one of 24 megapixels takes about 100 MB
const THUMBNAIL = 112;
const SMALLEST = 512; // side below which no smaller copy is worth making

const open = new Map(); // shelf of an item -> promise of its picture, oldest first

async function decode(item) {
  const { slice } = item;
  try {
    if (slice === null) return await createImageBitmap(item.file);
  } catch {
    item.foreign = true;
  }
  let drawn = null;
  try {
    drawn = await render(item.file, slice);
  } catch (error) {
    if (!error.slices) throw error; // else the prediction's answer says the same, and the file is turned to a slice
  }
  return drawn ? createImageBitmap(drawn) : null;
}

async function levelsOf(item) {
  const bitmap = await decode(item);
  if (!bitmap) return null;
  const levels = [bitmap];
  for (let last = bitmap; Math.max(last.width, last.height) > 2 * SMALLEST; ) {
    last = await createImageBitmap(last, {
      resizeWidth: Math.max(1, Math.round(last.width / 2)),
      resizeHeight: Math.max(1, Math.round(last.height / 2)),
      resizeQuality: "medium",
    });
    levels.push(last);
  }
  return { width: bitmap.width, height: bitmap.height, levels };
}

/** The picture of a file, or null when neither the browser nor the server can show it. */
export function pictureOf(item) {
  const { shelf } = item;
  let picture = open.get(shelf);
  if (picture) open.delete(shelf);
  else picture = levelsOf(item);
  open.set(shelf, picture);
  picture.catch(() => open.delete(shelf));
  for (const old of open.keys()) {
    if (open.size <= KEPT) break;
    open.get(old).then((gone) => gone?.levels.forEach((level) => level.close()), () => {});
    open.delete(old);
  }
  return picture;
}

/** Draw a picture through a view: scale (device pixels per image pixel), x, y of its corner. */
export function drawPicture(context, width, height, view, picture, size) {
  context.clearRect(0, 0, width, height);
  const [w, h] = [size.width * view.scale, size.height * view.scale];
  if (!picture) {
    context.fillStyle = "#5b6168";
    context.fillRect(view.x, view.y, w, h);
    return;
  }
  const wanted = w / picture.width;
  let level = picture.levels[0];
  for (const one of picture.levels) if (one.width / picture.width >= wanted) level = one;
  // Only what is seen is drawn: a huge picture at high zoom is otherwise scaled as a whole.
  const step = level.width / w;
  const left = Math.max(0, Math.floor(-view.x * step));
  const top = Math.max(0, Math.floor((-view.y * level.height) / h));
  const right = Math.min(level.width, Math.ceil((width - view.x) * step));
  const bottom = Math.min(level.height, Math.ceil(((height - view.y) * level.height) / h));
  if (right <= left || bottom <= top) return;
  context.imageSmoothingEnabled = wanted < 3;
  context.imageSmoothingQuality = "medium";
  const [sx, sy] = [w / level.width, h / level.height];
  context.drawImage(
    level, left, top, right - left, bottom - top,
    view.x + left * sx, view.y + top * sy, (right - left) * sx, (bottom - top) * sy,
  );
}

/** Address of a small copy of a file for the list; null when it cannot be shown. */
export async function thumbnailOf(item) {
  const bitmap = await decode(item);
  if (!bitmap) return null;
  const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(
    Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)),
  );
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return URL.createObjectURL(await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 }));
}
