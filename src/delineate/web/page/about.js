// What is known about a model: how it was made, on what, and how well it did.

import { $, make, short, whole } from "./dom.js";

const date = (text) => new Date(text).toLocaleDateString("en-GB", { dateStyle: "medium" });

/** [name, text] of what the card says; what it does not say is left out. */
function factsOf({ size, classes, labels, threshold, identity, backend, card = {} }) {
  const trained = card.trained ?? {};
  const cases = Object.entries(trained.cases ?? {}).filter(([, count]) => count);
  const facts = [
    ["Network", [card.model, card.encoder].filter(Boolean).join(", encoder ")],
    ["Recipe", card.recipe],
    ["Trained on", trained.dataset === "folder" ? "a folder of images" : trained.dataset],
    ["Cases", cases.map(([split, count]) => `${whole(count)} ${split}`).join(", ")],
    ["Epochs", trained.epochs],
    ["Finished", trained.finished && date(trained.finished)],
    ["Marks", classes?.join(", ")],
    ["Labels", labels?.join(", ")],
    ["Sees", size && `${size[0]} × ${size[1]} px`],
    ["Threshold", threshold],
    ["Runs on", backend],
    ["Weights", card.weights_sha256?.slice(0, 12) ?? identity],
  ];
  return facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
}

/** Mean scores: one row per score, one column per split. */
function scoresOf(scores) {
  const splits = Object.keys(scores ?? {});
  const names = [...new Set(splits.flatMap((split) => Object.keys(scores[split])))];
  if (!names.length) return make("p", { className: "quiet", textContent: "No scores are known: the model was not evaluated here." });
  const cell = (text) => make("td", { textContent: text });
  return make(
    "div",
    { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Mean scores" },
    make(
      "table",
      {},
      make("thead", {}, make("tr", {}, make("th", { scope: "row", textContent: "Mean score" }), ...splits.map((split) => make("th", { scope: "col", textContent: split })))),
      make(
        "tbody",
        {},
        ...names.map((name) =>
          make("tr", {}, make("th", { scope: "row", textContent: name.replaceAll("_", " ") }), ...splits.map((split) => cell(short(scores[split][name]))))),
      ),
    ),
  );
}

function cardOf(model, titled) {
  const facts = factsOf(model).flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]);
  const title = titled ? make("h3", { textContent: model.name }) : null;
  return make("div", { className: "card" }, title, make("dl", { className: "facts" }, ...facts), scoresOf(model.card?.scores));
}

/** Show the cards of one model, or of two that are compared. */
export function showCards(models) {
  const fold = $("#about");
  fold.hidden = !models.length;
  $("summary", fold).textContent = models.length > 1 ? "About these models" : "About this model";
  $("#cards").replaceChildren(...models.map((model) => cardOf(model, models.length > 1)));
}
