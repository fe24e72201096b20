/** Extending the canvas: a frame with handles round the picture; the server continues the picture between them. */

import { changed, desk, onChange, view } from "./desk.js";
import { $, click, make } from "./dom.js";
import { run, watch } from "./filling.js";
import { pass, quiet } from "./notice.js";
import * as requests from "./requests.js";
import { say } from "./strings.js";

const SIDES = ["left", "top", "right", "bottom"];
const RATIOS = [[1, 1], [4, 3], [3, 2], [16, 9], [3, 4], [9, 16]];
const SHARE = 0.15; // of the picture's side: what the first preset adds on every side
const FAR = 0.16; // of the picture's side: a wider border is a guess, and the page says so
const STEP = 8; // pixels for an arrow key
const FORMATS = { "image/jpeg": "jpeg", "image/webp": "webp", "image/tiff": "tiff", "image/bmp": "bmp", "image/avif": "avif" };

/** How often a picture has been extended by a border. @type {WeakMap<object, Map<string, number>>} */ const made = new WeakMap();

const none = () => ({ left: 0, top: 0, right: 0, bottom: 0 });
const isOpen = () => document.body.dataset.mode === "extend";

/** Show the frame, or take it away. */
export function extend(wanted) {
  if (wanted && (!desk.work || desk.running)) return;
  document.body.dataset.mode = wanted ? "extend" : "";
  $("frame").hidden = $("extend-bar").hidden = !wanted;
  quiet();
  view.border = none();
  if (wanted) setBorder(evenly(SHARE));
  else if (desk.work) view.fit();
  if (wanted) $("extend-go").focus({ preventScroll: true });
  changed();
}

/** A border of a share of each side, all round. */
function evenly(share) {
  const [wide, high] = [desk.work.width, desk.work.height].map((side) => Math.round(side * share));
  return { left: wide, top: high, right: wide, bottom: high };
}

/** The least border that gives the canvas a ratio of width to height. */
function toRatio([across, down]) {
  const { width, height } = desk.work;
  const wide = Math.max(0, Math.round((height * across) / down) - width);
  const high = Math.max(0, Math.round((width * down) / across) - height);
  const halve = (side) => [Math.floor(side / 2), Math.ceil(side / 2)];
  const [[left, right], [top, bottom]] = [halve(wide), halve(high)];
  return { left, top, right, bottom };
}

function setBorder(border, fit = true) {
  const { max_pixels: most } = desk.info;
  const { width, height } = desk.work;
  if ((width + border.left + border.right) * (height + border.top + border.bottom) > most) return;
  view.border = border;
  if (fit) view.fit();
  place();
}

/** Put the frame and its handles round the picture as it is seen. */
function place() {
  if (!isOpen()) return;
  const { border, work, scale } = view;
  const from = view.toWindow({ x: -border.left, y: -border.top });
  const to = view.toWindow({ x: work.width + border.right, y: work.height + border.bottom });
  const edge = $("frame").querySelector(".edge");
  Object.assign(edge.style, { left: `${from.x}px`, top: `${from.y}px`, width: `${to.x - from.x}px`, height: `${to.y - from.y}px` });
  const [x, y] = [-from.x + view.x, -from.y + view.y];
  edge.style.clipPath = ring(to.x - from.x, to.y - from.y, x, y, work.width * scale, work.height * scale);
  const middle = { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 };
  const places = { left: [from.x, middle.y], right: [to.x, middle.y], top: [middle.x, from.y], bottom: [middle.x, to.y] };
  for (const handle of $("frame").querySelectorAll(".handle")) {
    const [left, top] = places[handle.dataset.side];
    Object.assign(handle.style, { left: `${left}px`, top: `${top}px` });
    handle.ariaValueNow = String(border[handle.dataset.side]);
  }
  const [wide, high] = [work.width + border.left + border.right, work.height + border.top + border.bottom];
  $("extend-size").textContent = `${wide} × ${high}`;
  $("extend-far").hidden = Math.max(border.left, border.right) <= FAR * work.width && Math.max(border.top, border.bottom) <= FAR * work.height;
  $("extend-go").disabled = SIDES.every((side) => border[side] === 0);
}

/** A box less a box within it, as a clip path. */
function ring(wide, high, x, y, width, height) {
  const inner = `M${x} ${y}v${height}h${width}v${-height}z`;
  return `path(evenodd, "M-2 -2h${wide + 4}v${high + 4}h${-wide - 4}z${inner}")`;
}

/** Put the picture on the larger canvas; the server continues it there. After an undo, the same border has another seed. */
async function apply() {
  const { work } = desk;
  const border = { ...view.border };
  const order = JSON.stringify([border, desk.engine, work.width, work.height]);
  const tries = made.get(work) ?? made.set(work, new Map()).get(work);
  const seed = tries.get(order) ?? 0;
  extend(false);
  await run(
    (control) =>
      watch(work.file, control, async (id) => {
        const options = { ...border, engine: desk.engine, seed };
        const { blob: file, warnings } = await requests.extend(work.describe(), options, { ...control, id });
        const original = await createImageBitmap(file);
        const { width, height } = original;
        const format = work.format || FORMATS[work.opened.file.type] || "png";
        work.reframe({ file, readable: file, original, width, height, format });
        tries.set(order, seed + 1);
        pass(warnings);
      }),
    () => extend(true),
    () => say("done.extend", { width: work.width, height: work.height }),
  );
  if (desk.work === work) view.fit();
}

function makeHandle(side) {
  const handle = make("button", { className: "handle" });
  handle.dataset.side = side;
  handle.role = "slider";
  handle.ariaValueMin = "0";
  const turn = (x, y) => ({ left: -x, right: x, top: -y, bottom: y })[side];
  const move = (border, by, fit) => setBorder({ ...border, [side]: Math.max(0, Math.round(border[side] + by)) }, fit);
  let start = null;
  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    start = { x: event.clientX, y: event.clientY, border: view.border };
  });
  handle.addEventListener("pointermove", (event) => {
    if (start) move(start.border, turn(event.clientX - start.x, event.clientY - start.y) / view.scale, false);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    handle.addEventListener(kind, () => {
      start = null;
      view.fit();
    });
  }
  handle.addEventListener("keydown", (event) => {
    const arrows = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (!arrows) return;
    move(view.border, turn(...arrows), true);
    event.preventDefault();
    event.stopPropagation();
  });
  return handle;
}

/** Close the frame; says whether it was open. */
export function leaveExtend() {
  if (!isOpen()) return false;
  extend(false);
  return true;
}

export function wireExtend() {
  $("frame").append(make("div", { className: "edge" }), ...SIDES.map(makeHandle));
  const chip = (textContent, border) => {
    const button = make("button", { className: "button chip", textContent });
    button.addEventListener("click", () => setBorder(border()));
    return button;
  };
  const ratios = RATIOS.map((ratio) => chip(ratio.join(":"), () => toRatio(ratio)));
  $("ratios").append(chip(`+${100 * SHARE} %`, () => evenly(SHARE)), ...ratios);
  click("extend", () => extend(true));
  click("extend-cancel", () => extend(false));
  click("extend-go", apply);
  const before = view.onchange;
  view.onchange = () => {
    before();
    place();
  };
  onChange(() => {
    for (const handle of $("frame").querySelectorAll(".handle")) handle.ariaLabel = say(`extend.${handle.dataset.side}`);
    $("extend").disabled = !desk.work || Boolean(desk.running);
  });
}
