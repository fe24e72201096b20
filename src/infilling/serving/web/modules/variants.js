/** The strip of fillings of the hole that was filled last, and the engines for it: each one click. */

import { desk, onChange } from "./desk.js";
import { $, click, make } from "./dom.js";
import { chooseVariant, turnVariant } from "./editing.js";
import { title } from "./engines.js";
import { fill } from "./filling.js";
import { say } from "./strings.js";
import { thumbnail } from "./work.js";

const SIDE = 48; // pixels of a thumbnail
const ROUND = 0.25; // of the hole's size is shown round it

/** @type {WeakMap<object, HTMLElement>} */ const buttons = new WeakMap();

function refresh() {
  const { work } = desk;
  const hole = work?.isOutlined ? work.hole : null;
  const away = $("variants").contains(document.activeElement);
  $("variants").hidden = !hole;
  if (!hole) return;
  $("variant-list").replaceChildren(...hole.variants.map((variant, place) => update(variant, place)));
  $("variant-engines").replaceChildren(...desk.info.engines.map(({ name }) => makeEngine(name)));
  if (away && !$("variants").contains(document.activeElement)) focusShown();
}

const focusShown = () => $("variant-list").querySelector("[aria-checked='true']")?.focus();

/** The button of a filling: a picture of it and of what is round it. */
function update(variant, place) {
  const { work } = desk;
  if (!buttons.has(variant)) {
    const button = make("button", { className: "thumb" }, draw(work, variant));
    button.role = "radio";
    button.addEventListener("click", () => chooseVariant(variant));
    buttons.set(variant, button);
  }
  const button = buttons.get(variant);
  button.title = button.ariaLabel = say("variant", { place: place + 1, engine: title(variant.engine) });
  button.ariaChecked = String(variant === work.variant);
  button.tabIndex = variant === work.variant ? 0 : -1;
  button.disabled = Boolean(desk.running);
  return button;
}

function draw(work, { x, y, image }) {
  const rim = ROUND * Math.max(image.width, image.height);
  const [left, top] = [Math.max(0, x - rim), Math.max(0, y - rim)];
  const box = new DOMRect(left, top, Math.min(work.width, x + image.width + rim) - left, Math.min(work.height, y + image.height + rim) - top);
  const ratio = Math.min(2, devicePixelRatio);
  const small = thumbnail(work.base, box, SIDE * ratio);
  const context = small.getContext("2d");
  const scale = small.width / box.width;
  context.drawImage(image, (x - left) * scale, (y - top) * scale, image.width * scale, image.height * scale);
  return small;
}

function makeEngine(name) {
  const button = make("button", { className: "button chip", textContent: title(name), disabled: Boolean(desk.running) });
  button.ariaPressed = String(name === desk.work.variant?.engine);
  button.dataset.engine = name;
  button.addEventListener("click", () => fill(name));
  return button;
}

export function wireVariants() {
  click("fill-again", () => fill());
  $("variant-list").addEventListener("keydown", (event) => {
    const turn = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!turn) return;
    turnVariant(turn);
    focusShown();
    event.preventDefault();
    event.stopPropagation();
  });
  onChange(refresh);
}
