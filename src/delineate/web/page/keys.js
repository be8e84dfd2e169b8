// The keyboard.

const TYPED = "input[type=text], input[type=password], input[type=number], select, textarea";
const ARROWS = { ArrowRight: "next", ArrowLeft: "previous" };

/** @param {object} actions name -> function; see `NAMES` for the keys */
export function listen(actions) {
  const NAMES = {
    n: "next", p: "previous", b: "brush", e: "erase", v: "pan", "[": "back", "]": "forth", ",": "smaller", ".": "larger", f: "holes", r: "reset",
    m: "nextMap", h: "hide", c: "compare", d: "difference", "+": "zoomIn", "=": "zoomIn", "-": "zoomOut", 0: "fit", "?": "help",
  };
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
      if (!target.matches?.("input[type=range]")) run(ARROWS[key]);
    } else if (/^[1-9]$/.test(key)) {
      run("chooseClass", Number(key));
    } else if (NAMES[key]) {
      run(NAMES[key]);
    }
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") actions.hold(false);
  });
  window.addEventListener("blur", () => actions.hold(false));
}
