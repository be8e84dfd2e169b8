// Small helpers for the page's elements.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Make an element; `given` sets properties, and attributes where the name has a hyphen. */
export function make(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(given)) {
    if (value === null || value === undefined) continue;
    if (key.includes("-") || key === "role" || key === "scope") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

let saying = 0;

/** Say something to a screen reader, and nobody else. */
export function say(text) {
  clearTimeout(saying);
  saying = setTimeout(() => {
    $("#live").textContent = text;
  }, 60);
}

/** Show a sentence at the top of the page until it is closed; null takes it away. */
export function complain(text) {
  const bar = $("#complaint");
  bar.hidden = !text;
  $("p", bar).textContent = text ?? "";
}

export const whole = (value) => Math.round(value).toLocaleString("en-GB");

/** A number with three significant digits, or a dash. */
export function short(value) {
  if (value === null || value === undefined || !Number.isFinite(Number(value))) return "–";
  const number = Number(value);
  if (Number.isInteger(number) || Math.abs(number) >= 1000) return whole(number);
  return String(Number(number.toPrecision(3)));
}

/** Offer a blob as a file. */
export function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = make("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 30000);
}
