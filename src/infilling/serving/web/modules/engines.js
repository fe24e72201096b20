/** The engines: what people call them, what they are good for, and the menu to choose one from. */

import { changed, desk, onChange } from "./desk.js";
import { $, make } from "./dom.js";
import { closeMenus } from "./menus.js";
import { say } from "./strings.js";

const entry = (name) => desk.info.engines.find((engine) => engine.name === name) ?? { name, summary: "" };

/** What people call an engine: the page's word, else the server's, else its name. */
export const title = (name) => say(`engine.${name}`) || entry(name).title || name;

/** What an engine is good for, in a few words. */
const about = (name) => say(`engine.${name}.what`) || entry(name).summary;

/** Whether an engine fills the same hole differently for another seed. */
export const varies = (name) => desk.options.has("seed") && entry(name).seeded !== false && !still.has(name);

/** Engines that have given the same for another seed. @type {Set<string>} */
export const still = new Set();

/** Write the menu. */
export function listEngines() {
  const rows = desk.info.engines.map(({ name }) => {
    const radio = make("input", { type: "radio", name: "engine", value: name, checked: name === desk.engine });
    const words = make("span", { className: "title" }, make("b", { textContent: title(name) }));
    if (title(name) !== name) words.append(make("code", { textContent: name }));
    return make("label", { className: "choice" }, radio, words, make("span", { className: "quiet", textContent: about(name) }));
  });
  $("engine-list").replaceChildren(...rows);
  $("engine-more").hidden = !desk.info.hint;
  changed();
}

/** Connect the menu. */
export function wireEngines(escape) {
  const list = $("engine-list");
  list.addEventListener("change", ({ target }) => {
    desk.engine = target.value;
    changed();
  });
  list.addEventListener("click", ({ detail }) => detail && closeMenus()); // 0: an arrow key has moved the choice
  list.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    escape();
    event.preventDefault(); // or the button, which has the focus now, opens it again
  });
  onChange(() => ($("engine").textContent = title(desk.engine)));
}
