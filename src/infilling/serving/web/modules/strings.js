/** Words: one JSON file for each language; English stands in for what a language lacks. */

/** Languages by code, in their own words. */
export const LANGUAGES = {
  en: "English",
  de: "Deutsch",
  es: "Español",
  fr: "Français",
  vi: "Tiếng Việt",
  zh: "中文",
};
const STORED = "infilling.language";
let words = {};

/** The word or sentence of a name, with `{places}` filled in; "" if there is none. */
export function say(name, values = {}) {
  return (words[name] ?? "").replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

/** Choose a language, or find the reader's, and put its words into the page. */
export async function speak(language) {
  const known = (code) => code in LANGUAGES;
  const readers = navigator.languages.map((code) => code.slice(0, 2));
  const chosen = [language, localStorage.getItem(STORED), ...readers].find(known) ?? "en";
  if (language) localStorage.setItem(STORED, chosen);
  words = { ...(await load("en")), ...(chosen === "en" ? {} : await load(chosen)) };
  document.documentElement.lang = chosen;
  translate(document);
  return chosen;
}

/** Put words into elements: `data-text` content, `data-label` label, `data-tip` tooltip with `data-keys` and the sentence
 *  `data-more` in it. What has words of its own is called by those, as who speaks to the page reads them. */
export function translate(root) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) element.ariaLabel = say(element.dataset.label);
  for (const element of root.querySelectorAll("[data-tip]")) {
    const { tip, keys, more } = element.dataset;
    element.title = say(tip) + (keys ? ` (${keys})` : "") + (more ? `\n${say(more)}` : "");
    element.ariaLabel = element.textContent.trim() ? null : say(tip);
  }
}

async function load(language) {
  const answer = await fetch(new URL(`../strings/${language}.json`, import.meta.url));
  return answer.json();
}
