/** Masks that are found: what has a colour, what is transparent, and what the server can find. */

import { changed, desk, onChange, tools } from "./desk.js";
import { $, click, make, round } from "./dom.js";
import { apply, onPointed } from "./editing.js";
import { run, watch } from "./filling.js";
import { fromImage, fromPixels } from "./mask.js";
import { advise, busy, complain, quiet, tell } from "./notice.js";
import { find } from "./requests.js";
import { say } from "./strings.js";
import { upload } from "./uploads.js";
import { same } from "./work.js";

const MOST_POINTS = 64; // of a scribble
const FEWEST = 5; // pictures in which a watermark is found
const MOST_PICTURES = 24; // that are compared

/** Buttons for what the server finds without being given a place. */
export function listFinders() {
  for (const button of document.querySelectorAll("[data-finder]")) button.remove();
  const names = desk.finders.filter((name) => name !== "object" && say(`find.${name}`));
  const buttons = names.map((name) => {
    const button = make("button", { className: "button", textContent: say(`find.${name}`) });
    button.dataset.finder = name;
    button.addEventListener("click", () => (name === "watermark" ? findWatermark() : search(name, {}, $("mode").value)));
    return button;
  });
  $("finders").append(...buttons);
  document.querySelector("[data-tool='select']").hidden = !desk.finders.includes("object");
}

/** Let the server find something, and combine it with the mask.
 *  @param {object} more what else the operation is to say */
async function search(name, fields, mode, more = {}) {
  const { work } = desk;
  if (!work || desk.running) return;
  quiet();
  let operation = null;
  const look = async (control) => {
    await ready; // the same worker has the picture then
    const { blob, box } = await find(name, work.describe(), fields, control);
    const [x, y] = box.split(",").map(Number);
    operation = { ...fromImage(await createImageBitmap(blob), mode), x, y, ...more };
  };
  await run(
    (control) => watch(work.file, { ...control, running: "state.finding" }, (id) => look({ ...control, id })),
    () => search(name, fields, mode, more),
    () => "",
    "state.finding",
  );
  if (operation && work === desk.work) mark(operation);
}

/** Find what all open pictures of one size have in common, and let the next fill take it out of each. */
async function findWatermark() {
  const { work, works, info } = desk;
  quiet();
  const alike = works.filter((other) => other.width === work.width && other.height === work.height);
  if (alike.length < FEWEST) return complain(say("problem.watermark", { count: FEWEST }));
  const most = Math.min(MOST_PICTURES, Math.floor(info.max_pixels / (work.width * work.height)));
  const others = alike.filter((other) => other !== work).slice(0, most - 1);
  busy(say("state.sending"));
  const ids = await Promise.all(others.map(({ file }) => upload(file).id));
  if (!ids.every(Boolean)) return complain(say("problem.gone"), findWatermark);
  desk.shared = true;
  await search("watermark", { other_id: ids }, $("mode").value);
}

/** Combine what was found with the mask, and say how much it is. */
function mark(operation) {
  busy(null);
  if (!operation.count) return advise(say("problem.found"));
  apply(operation);
  const share = operation.count / (desk.work.width * desk.work.height);
  const found = say("done.found", { share: share < 0.001 ? "< 0.1" : round(100 * share) });
  const isTight = operation.select && !Number($("grow").value);
  tell(isTight ? `${found}\u00a0· ${say("hint.tight")}` : found, true); // the dot stays at the end of its line
}

/** The pixels of the picture. @returns {Uint32Array} */
function read(work) {
  return new Uint32Array(work.base.getContext("2d").getImageData(0, 0, work.width, work.height).data.buffer);
}

function findTransparent() {
  const { work } = desk;
  if (work && !desk.running) mark(fromPixels(read(work), work.width, (word) => word >>> 24 < 128, $("mode").value));
}

/** Mark what has the colour of a point: each channel at most the tolerance away. */
function findColour({ x, y }) {
  const { work } = desk;
  const [column, row] = [Math.floor(x), Math.floor(y)];
  if (column < 0 || row < 0 || column >= work.width || row >= work.height) return complain(say("problem.outside"));
  const words = read(work);
  const wanted = words[row * work.width + column];
  const most = Number($("tolerance").value);
  const near = (word) => [0, 8, 16].every((shift) => Math.abs(((word >> shift) & 255) - ((wanted >> shift) & 255)) <= most);
  mark(fromPixels(words, work.width, near, $("mode").value));
}

/** Select the thing that a click or a scribble is on. The next one adds to it, or takes away what it is on where that is
 *  selected already, or Alt is held. */
function findThing({ points: all, erase }) {
  const { work } = desk;
  const points = all.filter(({ x, y }) => x >= 0 && y >= 0 && x < work.width && y < work.height);
  if (!points.length) return complain(say("problem.outside"));
  const before = work.past.at(-1)?.operation?.select;
  const step = Math.ceil(points.length / MOST_POINTS);
  const places = points.filter((_, place) => place % step === 0).map(({ x, y }) => `${Math.floor(x)},${Math.floor(y)}`);
  const isBackground = Boolean(before) && (erase || isMarked(work, points[0]));
  const { point = [], background = [] } = before ?? {};
  const select = isBackground
    ? { point, background: [...background, ...places] }
    : { point: [...point, ...places], background };
  search("object", select, erase && !before ? "subtract" : "add", { select, refines: Boolean(before) });
}

/** What the server was asked to look at last: a file, and what was filled in it. @type {Blob[]} */
let prepared = [];
/** Settles when it has looked. */
let ready = Promise.resolve();

/** Let the server look at the picture while the reader aims: it keeps what a click needs of it. */
function prepare(work) {
  const picture = work.describe();
  const files = [picture.file, ...picture.patches.map(({ blob }) => blob)];
  if (same(files, prepared)) return;
  prepared = files;
  const middle = `${Math.floor(work.width / 2)},${Math.floor(work.height / 2)}`;
  ready = find("object", picture, { point: middle }).catch(() => {}); // the click says what is wrong
}

/** Whether a point of the picture is in the mask. */
function isMarked({ mask }, { x, y }) {
  return mask.getContext("2d").getImageData(Math.floor(x), Math.floor(y), 1, 1).data[3] >= 128;
}

export function wireFinders() {
  click("find-transparent", findTransparent);
  click("find-colour", () => {
    tools.choose("colour");
    tell(say("find.colour.how"), true);
  });
  $("tolerance").addEventListener("input", ({ target }) => ($("tolerance-text").textContent = target.value));
  onPointed((operation) => {
    changed();
    if (operation.kind === "scribble") return findThing(operation);
    tools.choose("brush");
    findColour(operation.points[0]);
  });
  onChange(() => {
    for (const button of $("finders").children) button.disabled = !desk.work || Boolean(desk.running);
    $("find-transparent").hidden = !desk.work || desk.work.opaque;
    if (desk.work && !desk.running && tools.name === "select") prepare(desk.work);
  });
}
