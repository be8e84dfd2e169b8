// Requests to the service this page came from, and to nothing else.

import { fromBase64 } from "./png.js";

const ROOT = new URL("api/v1/", document.baseURI);
const TRIES = 5;
const LONGEST_WAIT = 20; // seconds

/** What the server or the connection said, as one sentence. */
export class ServiceError extends Error {
  constructor(message, { status = 0, code = null, slices = null } = {}) {
    super(message);
    this.status = status;
    this.code = code; // the service's short name for it
    this.slices = slices; // pictures in a file of several, of which one must be named
  }

  /** Whether sending the same again cannot help. */
  get refused() {
    return this.status >= 400 && this.status < 500 && ![401, 408, 425, 429].includes(this.status);
  }

  /** Whether there is nothing at the address. */
  get absent() {
    return (this.status === 404 && this.code !== "unknown_model") || this.status === 405;
  }
}

let token = sessionStorage.getItem("delineate.token");
let askForToken = async () => null;

/** Say how a token is asked for: an async function that gives it, or null. */
export function onTokenWanted(ask) {
  askForToken = ask;
}

async function request(path, { query = {}, retry = true, ...options } = {}) {
  const address = new URL(path, ROOT);
  for (const [key, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") address.searchParams.set(key, value);
  }
  for (let attempt = 1; ; attempt += 1) {
    const headers = { ...options.headers };
    if (token) headers.Authorization = `Bearer ${token}`;
    let response;
    try {
      response = await fetch(address, { ...options, headers, credentials: "same-origin" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServiceError("The server does not answer; check that it still runs, then try again.");
    }
    if (response.ok) return response;
    if (response.status === 401) {
      token = await askForToken();
      if (token) {
        sessionStorage.setItem("delineate.token", token);
        continue;
      }
    }
    if (response.status === 503 && retry && attempt < TRIES) {
      const wait = Number(response.headers.get("Retry-After")) || attempt;
      await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(wait, LONGEST_WAIT)));
      continue;
    }
    const { sentence, ...facts } = await reason(response);
    throw new ServiceError(sentence, { status: response.status, ...facts });
  }
}

async function reason(response) {
  try {
    const { error, detail, code = null, slices = null } = await response.json();
    if (typeof error === "string") return { sentence: error, code, slices };
    if (typeof detail === "string") return { sentence: detail, code, slices };
  } catch {
    // Not JSON: something between the page and the service answered.
  }
  return { sentence: `The server answered ${response.status} ${response.statusText}`.trim() + "." };
}

function json(path, body) {
  return request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    retry: false,
  }).then((response) => response.json());
}

export async function getModels() {
  const found = await (await request("models")).json();
  return Array.isArray(found) ? found : found.models;
}

/**
 * Ask one model about one file.
 *
 * @param {object} wanted model, slice (of a file of several, else null), spacing (mm [row, column] or null), explain
 *   (method or null), uncertainty, signal
 * @returns the service's answer, with its pictures as blobs under `pictures`: mask, probability, uncertainty,
 *   explanation (each null when there is none)
 */
export async function predict(file, { model, slice = null, spacing = null, explain = null, uncertainty = false, signal }) {
  const form = new FormData();
  form.append("file", file, file.name);
  const query = { model, slice, spacing, measure: true, uncertainty, explain: explain ?? "none" };
  const answer = await (await request("predict", { method: "POST", body: form, query, signal })).json();
  const picture = (text) => (typeof text === "string" ? fromBase64(text) : null);
  answer.pictures = {
    mask: picture(answer.mask?.png),
    probability: picture(answer.probability?.png8),
    uncertainty: picture(answer.uncertainty?.entropy),
    explanation: picture(answer.explanation?.png),
  };
  for (const part of ["mask", "probability", "uncertainty"]) delete answer[part];
  delete answer.explanation?.png;
  return answer;
}

/** Measure a mask (a blob) on its image: a list as in predictions; `about`: model, slice, spacing. */
export async function measureMask(file, mask, about, signal) {
  const form = new FormData();
  form.append("file", file, file.name);
  form.append("mask", mask, "mask.png");
  const answer = await request("measure", { method: "POST", body: form, query: about, signal });
  return (await answer.json()).measurements;
}

/** A file as the models see it, for kinds that a browser cannot show; null when the server has no such thing. */
export async function render(file, slice = null) {
  const form = new FormData();
  form.append("file", file, file.name);
  try {
    return await (await request("render/png", { method: "POST", body: form, query: { slice } })).blob();
  } catch (error) {
    if (error.status === 404 || error.status === 405) return null;
    throw error;
  }
}

/** A DICOM segmentation of a mask: {blob, type}; `about`: model, slice, spacing, corrected, author. */
export async function dicomSeg(file, mask, about) {
  const form = new FormData();
  form.append("file", file, file.name);
  form.append("mask", mask, "mask.png");
  const response = await request("render/dicom-seg", { method: "POST", body: form, query: about });
  return { blob: await response.blob(), type: response.headers.get("Content-Type") ?? "" };
}

export const storeCorrection = (correction) => json("corrections", correction);

export async function getCorrections(limit = 50) {
  const found = await (await request("corrections", { query: { limit } })).json();
  return Array.isArray(found) ? found : (found.corrections ?? found.items ?? []);
}
