// Corrections that the server does not have yet. They stay in this browser's own database until it has them.

import { storeCorrection } from "./api.js";
import { toBase64 } from "./png.js";

const NAME = "delineate";
const TABLE = "outbox";

function ask(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

let database = null;

async function table(mode) {
  database ??= new Promise((resolve, reject) => {
    const opening = indexedDB.open(NAME, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(TABLE, { keyPath: "key", autoIncrement: true });
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
  return (await database).transaction(TABLE, mode).objectStore(TABLE);
}

const memory = new Map(); // where a browser has no database, as in some private windows
let next = -1;

/** A name for one act of saving, so that sending it again stores it once; also where no secure context is. */
export const newName = () => [...crypto.getRandomValues(new Uint8Array(16))].map((one) => one.toString(16).padStart(2, "0")).join("");

/**
 * Keep a correction: {once (see `newName`), file, mask, predicted (blobs), filename, model, identity, label, author,
 * comment, seconds}.
 */
export async function keep(correction) {
  try {
    return await ask((await table("readwrite")).add({ ...correction, kept: new Date().toISOString() }));
  } catch {
    memory.set(next, correction);
    next -= 1;
    return next + 1;
  }
}

export async function drop(key) {
  if (memory.delete(key)) return;
  await ask((await table("readwrite")).delete(key));
}

/** Everything that waits, oldest first, with its `key`. */
export async function waiting() {
  const held = [...memory].map(([key, correction]) => ({ ...correction, key }));
  try {
    return [...(await ask((await table("readonly")).getAll())), ...held];
  } catch {
    return held;
  }
}

/** Whether something waits that closing the page would lose. */
export const volatile = () => memory.size > 0;

/** A correction as the service takes it. */
export async function bodyOf(correction) {
  const { file, mask, predicted, kept, key: _, once, ...rest } = correction;
  return {
    ...rest,
    key: once,
    image: await toBase64(file),
    mask_png: mask && (await toBase64(mask)), // null for a model that only names labels
    predicted_mask_png: predicted && (await toBase64(predicted)),
  };
}

/** Send one correction and forget it here once the server has stored it. */
export async function send(key, correction) {
  const stored = await storeCorrection(await bodyOf(correction));
  await drop(key);
  return stored;
}
