/** What the page says: what it does, what it has done, what is wrong and what can be done about it. */

import { desk } from "./desk.js";
import { $, click, make, round } from "./dom.js";
import { say } from "./strings.js";

const SENTENCES = {
  unreadable: "problem.unreadable",
  "unsupported-picture": "problem.unsupported",
  busy: "problem.busy",
  "too-many": "problem.busy",
  "too-much-memory": "problem.memory",
  "upload-timeout": "problem.upload",
  closing: "problem.closing",
  timeout: "problem.timeout",
  "too-large": "problem.large",
  "too-many-pixels": "problem.large",
  "engine-failed": "problem.engine",
  internal: "problem.internal",
  "foreign-host": "problem.host",
  "foreign-origin": "problem.host",
  "bad-request": "problem.page",
  "not-found": "problem.page",
  "method-not-allowed": "problem.page",
  "unsupported-type": "problem.page",
  "unknown-field": "problem.page",
  gone: "problem.gone",
  repeated: "problem.variants",
};
/** What is said of a value that cannot be used, by its field. */
const FIELDS = { source: "problem.source", format: "problem.format" };
/** Sentences after which the server's own is shown too. */
const DETAILED = ["problem.unreadable", "problem.other"];
const WORTH_TRYING = new Set(["busy", "too-many", "upload-timeout", "closing", "timeout", "gone", "internal"]);
const SEEN = 2500; // milliseconds for which "Saved" and the like are shown, and more for long sentences
const SEEN_LETTER = 30; // milliseconds more for each letter

let again = null;
let fading = 0;
/** What is done when the server asks for a token; given by app.js. */
let askForToken = (retry) => retry?.();

export const onUnauthorized = (action) => (askForToken = action);

/** Say something to those who do not see the page; `seen` shows it for a moment too. */
export function tell(text, seen = false) {
  $("live").textContent = text;
  if (!seen) return;
  busy(text, { done: true });
  fading = setTimeout(() => desk.running || busy(null), SEEN + SEEN_LETTER * text.length);
}

/** Show what is being done, or what is done; null shows nothing.
 *  @param {string | null} text
 *  @param {{done?: boolean, share?: number | null}} more `share` from 0 to 1, where it is known */
export function busy(text, { done = false, share = null } = {}) {
  clearTimeout(fading);
  $("busy").hidden = text === null;
  $("spinner").hidden = done;
  $("tick").hidden = !done;
  $("cancel").hidden = !desk.running;
  $("busy-share").hidden = share === null;
  if (share !== null) $("busy-share").value = share;
  if (text !== null) $("busy-text").textContent = text;
}

/** Take back what was said of what is no more: what was wrong, or done. */
export function quiet() {
  if (!desk.running) busy(null);
  $("note").hidden = true;
  $("welcome-problem").textContent = "";
  $("welcome-again").hidden = true;
  again = null;
}

/** Say what is wrong; `retry` offers to try again, `detail` is what the server says of it. */
export function complain(text, retry = null, detail = "") {
  show(text, retry, say("again"), detail);
  $("note").classList.remove("mild");
}

/** Say what could be better, and offer to do something about it. */
export function advise(text, word = "", action = null, detail = "") {
  show(text, action, word, detail);
  $("note").classList.add("mild");
}

/** Pass on what the server warns of, in our words where there are some; says whether there was anything.
 *  @param {import("./requests.js").Warning[]} warnings */
export function pass(warnings) {
  const ours = warnings.map(({ code, text, ...values }) => say(`warning.${code}`, values));
  const theirs = warnings.filter((_, place) => !ours[place]).map(({ text }) => text);
  if (warnings.length) advise(ours.filter(Boolean).join(" "), "", null, theirs.join(" "));
  return warnings.length > 0;
}

/** Show a note; what the server says is English, and is marked as that for those who have it read to them. */
function show(text, action, word, detail) {
  again = action;
  busy(null);
  const parts = detail ? [text && `${text} `, make("span", { lang: "en", textContent: detail })] : [text];
  $(desk.work ? "note-text" : "welcome-problem").replaceChildren(...parts);
  $("note").hidden = !desk.work;
  $("note-again").textContent = word;
  $(desk.work ? "note-again" : "welcome-again").hidden = !action;
}

/** Say what an error means. */
export function explain(error, retry = null) {
  if (error.code === "unauthorized") return askForToken(retry);
  const [limit, pixels] = [desk.info.max_bytes / 2 ** 20, desk.info.max_pixels / 1e6].map(round);
  const name = SENTENCES[error.code] ?? FIELDS[error.field] ?? "problem.other";
  const [sharp, soft, texture] = ["default", "fidelity", "patch-synthesis"].map((engine) => say(`engine.${engine}`));
  const text = say(name, { seconds: error.seconds, limit, pixels, sharp, soft, texture });
  const detail = DETAILED.includes(name) ? error.detail || error.message : "";
  complain(text, WORTH_TRYING.has(error.code) ? retry : null, detail);
}

/** Connect the buttons of the notes. */
export function wireNotices() {
  const retry = () => {
    const action = again;
    quiet();
    action?.();
  };
  click("note-close", quiet);
  click("note-again", retry);
  click("welcome-again", retry);
}
