/** What the modules share: the pictures that are open, the one that is worked on, and what the server offers. */

import { $ } from "./dom.js";
import { Tools } from "./tools.js";
import { View } from "./view.js";

export const view = new View($("picture"), $("marks"), $("overlay"));
export const tools = new Tools(view, $("cursor"));

export const desk = {
  /** @type {import("./work.js").Work[]} */ works: [],
  /** @type {import("./work.js").Work | null} */ work: null,
  /** Stops what is being filled; null when nothing is. @type {AbortController | null} */ running: null,
  /** One mask is for all pictures of its size. */
  shared: false,
  /** What the server says of itself. */
  info: { max_bytes: Infinity, max_pixels: Infinity, engines: [], default: "", hint: "" },
  /** Names of the fields that a fill of this server takes. @type {Set<string>} */
  options: new Set(),
  /** Names of what the server finds in pictures: "object", "scratches" … @type {string[]} */
  finders: [],
  /** The engine that is chosen. */
  engine: "",
};

/** @type {Set<() => void>} */ const listeners = new Set();

/** Call a function after every change of the state, to bring its controls up to date. */
export const onChange = (listener) => listeners.add(listener);

/** Tell everyone that the state has changed. */
export function changed() {
  for (const listener of listeners) listener();
}

/** Settings of the next fill that are not the engine. */
export const settings = () => ({ grow: Number($("grow").value), feather: Number($("feather").value) });
