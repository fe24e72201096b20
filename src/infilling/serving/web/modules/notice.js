/** What the page says: what it does, what it has done, what is wrong and what can be done about it. */

import { desk } from "./desk.js";
import { $, click, round } from "./dom.js";
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
};
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

/** Say what is wrong; `retry` offers to try again. */
export function complain(text, retry = null) {
  show(text, retry, say("again"));
  $("note").classList.remove("mild");
}

/** Say what could be better, and offer to do something about it. */
export function advise(text, word = "", action = null) {
  show(text, action, word);
  $("note").classList.add("mild");
}

/** Pass on what the server warns of, in our words where there are some; says whether there was anything.
 *  @param {import("./requests.js").Warning[]} warnings */
export function pass(warnings) {
  if (warnings.length) advise(warnings.map(({ text, code, ...values }) => say(`warning.${code}`, values) || text).join(" "));
  return warnings.length > 0;
}

function show(text, action, word) {
  again = action;
  busy(null);
  $(desk.work ? "note-text" : "welcome-problem").textContent = text;
  $("note").hidden = !desk.work;
  $("note-again").textContent = word;
  $(desk.work ? "note-again" : "welcome-again").hidden = !action;
}

/** Say what an error means. */
export function explain(error, retry = null) {
  if (error.code === "unauthorized") return askForToken(retry);
  const [limit, pixels] = [desk.info.max_bytes / 2 ** 20, desk.info.max_pixels / 1e6].map(round);
  const values = { seconds: error.seconds, detail: error.detail || error.message, limit, pixels };
  const text = error.field === "source" ? refuseSource() : say(SENTENCES[error.code] ?? "problem.other", values);
  complain(text, WORTH_TRYING.has(error.code) ? retry : null);
}

/** What is said where the server cannot copy from what was painted. */
function refuseSource() {
  const [sharp, soft, texture] = ["default", "fidelity", "patch-synthesis"].map((name) => say(`engine.${name}`));
  return say("problem.source", { sharp, soft, texture });
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
