/** Words: one JSON file for each language; English stands in for what a language lacks. */

const LANGUAGES = ["en", "vi"];
const STORED = "infilling.language";
let words = {};

/** The word or sentence of a name, with `{places}` filled in; "" if there is none. */
export function say(name, values = {}) {
  return (words[name] ?? "").replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

/** Whether there is a sentence of this name. */
export const knows = (name) => name in words;

/** Choose a language, or find the reader's, and put its words into the page. */
export async function speak(language) {
  const wanted = language ?? localStorage.getItem(STORED) ?? navigator.language.slice(0, 2);
  const chosen = LANGUAGES.includes(wanted) ? wanted : "en";
  if (language) localStorage.setItem(STORED, chosen);
  words = { ...(await load("en")), ...(chosen === "en" ? {} : await load(chosen)) };
  document.documentElement.lang = chosen;
  translate(document);
  return chosen;
}

/** Put words into elements: `data-text` content, `data-label` label, `data-tip` label and tooltip. */
export function translate(root) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) element.ariaLabel = say(element.dataset.label);
  for (const element of root.querySelectorAll("[data-tip]")) {
    element.title = say(element.dataset.tip);
    element.ariaLabel = say(element.dataset.tip);
  }
}

async function load(language) {
  const answer = await fetch(new URL(`../strings/${language}.json`, import.meta.url));
  return answer.json();
}
