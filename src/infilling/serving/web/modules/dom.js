/** Short words for what every module does with elements and numbers. */

/** The element of an id. @returns {any} */
export const $ = (id) => document.getElementById(id);

/** Make an element with properties and children. */
export function make(tag, values = {}, ...children) {
  const element = Object.assign(document.createElement(tag), values);
  element.append(...children);
  return element;
}

/** Call an action when the element of an id is clicked. */
export const click = (id, action) => $(id).addEventListener("click", () => action());

/** A canvas that is not in the page. */
export const makeCanvas = (width, height) => make("canvas", { width, height });

/** A number for people: one digit after the point below ten, none above. */
export const round = (value) => (value < 10 ? Math.round(value * 10) / 10 : Math.round(value));

/** Offer a file to be kept. */
export function download(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Ask a question with a few answers; the value of the one that is chosen, or null.
 *  @param {string} text @param {[string, string][]} answers values and their words; the first is the likely one */
export function ask(text, answers) {
  const dialog = $("ask-dialog");
  $("ask-text").textContent = text;
  const buttons = answers.map(([value, word], place) =>
    make("button", { value, textContent: word, className: place ? "button" : "button primary" }),
  );
  $("ask-answers").replaceChildren(...buttons);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue || null), { once: true }));
}
