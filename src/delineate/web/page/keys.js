// The keyboard.

import { $ } from "./dom.js";

const TYPED = "input[type=text], input[type=password], input[type=number], select, textarea";
const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
const STEPS = { ArrowRight: "next", ArrowLeft: "previous" };
const KEYS = "delineate.keys"; // "off" where keys of a single character do nothing

/** @param {object} actions name -> function; see `NAMES` for the keys */
export function listen(actions) {
  const NAMES = {
    n: "next", p: "previous", b: "brush", e: "erase", v: "pan", "[": "back", "]": "forth", ",": "smaller", ".": "larger", f: "holes", r: "reset",
    m: "nextMap", h: "hide", c: "compare", d: "difference", "+": "zoomIn", "=": "zoomIn", "-": "zoomOut", 0: "fit", "?": "help",
  };
  const single = $("#single-keys");
  single.checked = localStorage.getItem(KEYS) !== "off";
  single.addEventListener("change", () => localStorage.setItem(KEYS, single.checked ? "on" : "off"));
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const { target, key } = event;
    const run = (name, ...given) => {
      event.preventDefault();
      actions[name](...given);
    };
    if ((event.ctrlKey || event.metaKey) && !event.altKey) {
      const letter = key.toLowerCase();
      if (letter === "s") run("save");
      else if (target.matches?.(TYPED)) return; // its own undo
      else if (letter === "z") run(event.shiftKey ? "redo" : "undo");
      else if (letter === "y") run("redo");
      return;
    }
    const turns = (key === "[" || key === "]") && target.id === "slice"; // a number holds no brackets
    if (event.altKey || (target.matches?.(TYPED) && !turns)) return;
    if (key === " ") {
      // Over the image it moves the image, whatever has the focus; else it presses what has the focus.
      if (target.matches?.("button, summary, input") && !document.querySelector("#stage:hover")) return;
      run("hold", true);
    } else if (ARROWS[key]) {
      if (target.matches?.("input[type=range]")) return;
      if (event.shiftKey) run("shift", ...ARROWS[key]);
      else if (STEPS[key]) run(STEPS[key]);
    } else if (single.checked) {
      if (/^[1-9]$/.test(key)) run("chooseClass", Number(key));
      else if (NAMES[key]) run(NAMES[key]);
    }
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") actions.hold(false);
  });
  window.addEventListener("blur", () => actions.hold(false));
}
