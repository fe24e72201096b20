/** The strip of fills: where the picture was after each, and the way there. */

import { desk, onChange } from "./desk.js";
import { $, make } from "./dom.js";
import { goTo } from "./editing.js";
import { title } from "./engines.js";
import { say } from "./strings.js";

/** The states that are shown: as opened, and after every fill or change of the canvas. */
function list(work) {
  const states = work.steps.map((step, index) => ({ step, done: index + 1 })).filter(({ step }) => !step.operation);
  return [{ step: { thumb: work.first }, done: 0 }, ...states];
}

function describe({ frame, variant }, place) {
  if (variant) return say("history.fill", { place, engine: title(variant.engine) });
  return frame && frame !== desk.work.opened ? say("history.extended") : say("history.opened");
}

function refresh() {
  const { work, running } = desk;
  $("restart").disabled = !work?.isTouched || Boolean(running);
  if (!work || !$("history").open) return;
  const states = list(work);
  const present = states.findLast(({ done }) => done <= work.done);
  const items = states.map((state, place) => {
    const name = describe(state.step, place);
    const picture = make("canvas", { width: state.step.thumb.width, height: state.step.thumb.height });
    picture.getContext("2d").drawImage(state.step.thumb, 0, 0);
    const button = make("button", { className: "thumb", disabled: Boolean(running) }, picture, make("span", { textContent: name }));
    button.ariaCurrent = String(state === present);
    button.addEventListener("click", () => goTo(state.done));
    return button;
  });
  $("history-list").replaceChildren(...items);
  $("history-list").querySelector("[aria-current='true']").scrollIntoView({ block: "nearest", inline: "nearest" });
}

export function wireHistory() {
  $("history").addEventListener("toggle", refresh);
  onChange(refresh);
}
