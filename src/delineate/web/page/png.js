// Grey PNG files without loss: a canvas would write RGBA and may change values with its colour profile.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const STRIP = 256; // rows that are decoded at a time, so that a large picture is never held as RGBA

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

function crc32(bytes) {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i += 1) c = CRC[(c ^ bytes[i]) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

function chunk(type, body) {
  const bytes = new Uint8Array(body.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  for (let i = 0; i < 4; i += 1) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(body, 8);
  view.setUint32(8 + body.length, crc32(bytes.subarray(4, 8 + body.length)));
  return bytes;
}

/** Write 8-bit grey values as a PNG file. */
export async function encodeGrey(values, width, height) {
  const rows = new Uint8Array((width + 1) * height); // each row starts with its filter, 0: none
  for (let y = 0; y < height; y += 1) {
    rows.set(values.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  }
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const data = new Uint8Array(await new Response(packed).arrayBuffer());
  const head = new Uint8Array(13);
  const view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head[8] = 8; // bits; colour type 0 is grey
  const parts = [Uint8Array.from(SIGNATURE), chunk("IHDR", head), chunk("IDAT", data), chunk("IEND", new Uint8Array())];
  return new Blob(parts, { type: "image/png" });
}

/** Read a grey PNG: {width, height, values: Uint8Array}. */
export async function decodeGrey(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = bitmap;
  const values = new Uint8Array(width * height);
  const canvas = new OffscreenCanvas(width, Math.min(STRIP, height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.globalCompositeOperation = "copy";
  for (let top = 0; top < height; top += STRIP) {
    const rows = Math.min(STRIP, height - top);
    context.drawImage(bitmap, 0, top, width, rows, 0, 0, width, rows);
    const { data } = context.getImageData(0, 0, width, rows);
    const offset = top * width;
    for (let i = 0; i < rows * width; i += 1) values[offset + i] = data[4 * i];
  }
  bitmap.close();
  return { width, height, values };
}

/** Bytes of a base64 text, with or without the head of a data address. */
export function fromBase64(text, type = "image/png") {
  const plain = atob(text.slice(text.startsWith("data:") ? text.indexOf(",") + 1 : 0));
  const bytes = new Uint8Array(plain.length);
  for (let i = 0; i < plain.length; i += 1) bytes[i] = plain.charCodeAt(i);
  return new Blob([bytes], { type });
}

/** Base64 text of a blob's bytes. */
export function toBase64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("The file could not be read; it may have been moved or changed."));
    reader.readAsDataURL(blob);
  });
}

/** Mask file values: 0 and 255 for one class, the index of the class for several, as `delineate predict`. */
export function maskFile(mask, width, height, classes) {
  return encodeGrey(classes > 1 ? mask : mask.map((value) => (value ? 255 : 0)), width, height);
}

/** Class indices of a mask file. */
export async function readMask(blob, classes) {
  const read = await decodeGrey(blob);
  if (classes === 1) read.values = read.values.map((value) => (value ? 1 : 0));
  return read;
}
