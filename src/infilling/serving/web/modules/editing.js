/** Changes of the mask, and the way back and forth through what was done. */

import { changed, desk, tools, view } from "./desk.js";
import { $, click, download, makeCanvas } from "./dom.js";
import { coverage, draw, toFile } from "./mask.js";
import { quiet, tell } from "./notice.js";
import { say } from "./strings.js";
import { upload } from "./uploads.js";

let painted = () => {};
/** Call a function when something has been painted that is to be filled at once. */
export const onPainted = (action) => (painted = action);
let pointed = () => {};
/** Call a function with the points at which the reader says that something is. */
export const onPointed = (action) => (pointed = action);

/** Whether a change can be made now; a fill that runs has the mask. */
const isFree = () => Boolean(desk.work) && !desk.running;

/** Note an operation that is drawn already; null asks for the mask as it was before. */
function commit(operation) {
  const { work } = desk;
  if (operation?.kind === "scribble" || operation?.kind === "pick") return pointed(operation);
  if (operation) {
    work.note(operation);
    upload(work.file); // while more is painted
  } else {
    work.redrawMask();
  }
  quiet();
  view.redrawMask();
  changed();
  const paints = operation && !operation.erase && !operation.layer;
  if (paints && (tools.name === "heal" || $("release").checked) && coverage(work.mask) === "some") painted();
}

/** Draw an operation on the mask and note it. */
export function apply(operation) {
  if (!isFree()) return;
  const { work } = desk;
  work.begin(operation);
  if (!operation.refines) draw(work.layer(operation).getContext("2d"), operation);
  work.note(operation);
  if (operation.refines) work.redrawMask();
  quiet();
  view.redrawMask();
  changed();
}

function show(done) {
  quiet();
  tell(say(done));
  if (view.work.width !== view.shown.width || view.work.height !== view.shown.height) view.fit();
  view.redraw();
  changed();
}

export function undo() {
  if (!isFree() || !desk.work.canUndo) return;
  desk.work.undo();
  show("done.undo");
}

export function redo() {
  if (!isFree() || !desk.work.canRedo) return;
  desk.work.redo();
  show("done.redo");
}

/** Go back to the file as it was opened; a step like any other. */
export function restart() {
  if (!isFree() || !desk.work.canUndo) return;
  desk.work.restart();
  show("done.restart");
}

/** Go to the state after `count` steps. */
export function goTo(done) {
  if (!isFree()) return;
  desk.work.goTo(done);
  show(done < desk.work.steps.length ? "done.undo" : "done.redo");
}

/** Let the mask of the hole that was filled last be changed. */
export const keep = () => apply({ kind: "keep" });
export const invert = () => apply({ kind: "invert" });
export const clear = () => apply({ kind: "clear", layer: tools.name === "source" ? "source" : undefined });

/** Show a filling of the last hole that was made before. */
export function chooseVariant(variant) {
  if (!isFree() || !desk.work.hole) return;
  desk.work.choose(variant);
  show("done.variant");
}

/** Show the filling before or after the one that is shown. */
export function turnVariant(by) {
  const variants = desk.work?.hole?.variants ?? [];
  const place = variants.indexOf(desk.work?.variant);
  if (variants.length > 1) chooseVariant(variants.at((place + by) % variants.length));
}

async function saveMask() {
  const { work } = desk;
  const mask = work.hasHole ? work.mask : makeCanvas(work.width, work.height);
  download(await toFile(mask), `${work.name.replace(/\.[^.]*$/, "")}.mask.png`);
}

export function wireEditing() {
  tools.listener = { begin: (operation) => desk.work.begin(operation), commit, changed };
  for (const [id, action] of Object.entries({ undo, redo, restart, keep, invert, clear })) click(id, action);
  click("save-mask", saveMask);
  for (const id of ["grow", "feather"]) {
    $(id).addEventListener("input", ({ target }) => {
      $(`${id}-text`).textContent = `${target.value} px`;
      if (id === "grow") view.grow = Number(target.value);
      if (view.work) view.redraw();
    });
  }
  $("release").checked = localStorage.getItem("infilling.release") === "true";
  $("release").addEventListener("change", ({ target }) => localStorage.setItem("infilling.release", target.checked));
}
