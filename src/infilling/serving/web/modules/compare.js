/** Before and after: a line that is moved across, and the original for as long as a button is held. */

import { changed, desk, onChange, view } from "./desk.js";
import { $ } from "./dom.js";

const WIPE = 900; // milliseconds
const HOLD = 250; // milliseconds after which a press is a hold
const RIM = 24; // window pixels between the fill and where the line rests

let wiping = 0;

/** Show the line between before and after, or take it away. */
export function compare(wanted = view.split === null) {
  cancelAnimationFrame(wiping);
  if (wanted && !desk.work?.isTouched) return;
  view.split = wanted ? 0.5 : null;
  $("compare").ariaPressed = String(wanted);
  $("split").hidden = !wanted;
  if (wanted) wipe(...edges());
  if (view.work) view.redraw();
  changed();
}

/** The left and the right edge of the last fill, as shares of the window. */
function edges() {
  const { clientWidth } = view.element;
  const box = desk.work.lastBox ?? new DOMRect(0, 0, desk.work.width, desk.work.height);
  const share = (x, rim) => Math.min(0.97, Math.max(0.03, (view.toWindow({ x, y: 0 }).x + rim) / clientWidth));
  return [share(box.left, -RIM), share(box.right, RIM)];
}

/** Move the line once over the fill: from the original to what was made of it. */
function wipe(left, right) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return slide(left);
  const since = performance.now();
  const step = (now) => {
    const share = Math.min(1, Math.max(0, (now - since) / WIPE));
    slide(right + (left - right) * share * share * (3 - 2 * share));
    if (share < 1) wiping = requestAnimationFrame(step);
  };
  slide(right);
  wiping = requestAnimationFrame(step);
}

function slide(share) {
  view.split = Math.min(1, Math.max(0, share));
  $("split").style.left = `${100 * view.split}%`;
  $("split").ariaValueNow = String(Math.round(100 * view.split));
  view.redraw();
}

/** Show the original, or what was made of it. */
export function showOriginal(wanted) {
  if (!desk.work || view.original === wanted) return;
  view.original = wanted;
  $("original").hidden = !wanted;
  view.redraw();
}

export function wireCompare() {
  const split = $("split");
  const follow = (event) => slide((event.clientX - $("stage").getBoundingClientRect().left) / $("stage").clientWidth);
  wireHold($("compare"));
  split.addEventListener("pointerdown", (event) => {
    cancelAnimationFrame(wiping);
    split.setPointerCapture(event.pointerId);
  });
  split.addEventListener("pointermove", (event) => split.hasPointerCapture(event.pointerId) && follow(event));
  split.addEventListener("keydown", (event) => {
    const turn = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
    if (!turn) return;
    cancelAnimationFrame(wiping);
    slide(view.split + turn);
    event.preventDefault();
  });
  onChange(() => {
    $("compare").disabled = !desk.work?.isTouched;
    if (view.split !== null && !desk.work?.isTouched) compare(false);
  });
}

/** A short press compares; while the button is held, the original shows. */
function wireHold(button) {
  let timer = 0;
  let held = false;
  const release = () => {
    clearTimeout(timer);
    showOriginal(false);
  };
  button.addEventListener("pointerdown", () => {
    held = false;
    timer = setTimeout(() => {
      held = true;
      showOriginal(true);
    }, HOLD);
  });
  for (const kind of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(kind, release);
  button.addEventListener("click", () => held || compare());
  button.addEventListener("keydown", () => (held = false));
  button.addEventListener("contextmenu", (event) => event.preventDefault()); // what a long touch asks for
}
