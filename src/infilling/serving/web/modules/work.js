/** The picture that is worked on: its file, its pixels, its mask, and all that was done, in order. */

import { marks, redraw } from "./mask.js";

/** @typedef {{operation: import("./mask.js").Operation}
 *    | {box: string, blob: Blob, before: HTMLCanvasElement, after: ImageBitmap}} Step */

export class Work {
  /** @type {Step[]} */ steps = [];
  done = 0;

  /** @param {Blob} file @param {string} name @param {ImageBitmap} original */
  constructor(file, name, original) {
    Object.assign(this, { file, name, original, width: original.width, height: original.height });
    this.base = makeCanvas(this.width, this.height);
    this.base.getContext("2d").drawImage(original, 0, 0);
    this.mask = makeCanvas(this.width, this.height);
    this.saved = 0;
  }

  /** Operations on the mask since the last fill. */
  get operations() {
    const past = this.steps.slice(0, this.done);
    return past.slice(past.findLastIndex((step) => step.blob) + 1).map((step) => step.operation);
  }

  /** What was filled: boxes and their pixels, as the server takes them. */
  get patches() {
    return this.steps.slice(0, this.done).filter((step) => step.blob).map(({ blob, box }) => ({ blob, box }));
  }

  get hasHole() { return marks(this.operations); }
  get canUndo() { return this.done > 0; }
  get canRedo() { return this.done < this.steps.length; }
  get isUnsaved() { return this.patches.length > 0 && this.saved !== this.done; }

  /** Note an operation that is already drawn on the mask. */
  note(operation) {
    this.#push({ operation });
  }

  /** Put what the server filled in place; the mask is empty afterwards. */
  async place({ blob, box }) {
    const after = await createImageBitmap(blob);
    const [x, y, width, height] = box.split(",").map(Number);
    const before = makeCanvas(width, height);
    before.getContext("2d").drawImage(this.base, -x, -y);
    this.#push({ box, blob, before, after });
    this.#show(after, x, y);
    this.redrawMask();
  }

  /** Take the last step back; returns it. */
  undo() {
    const step = this.steps[--this.done];
    if (step.blob) this.#show(step.before, ...step.box.split(",", 2).map(Number));
    this.redrawMask();
    return step;
  }

  /** Do the next step again; returns it. */
  redo() {
    const step = this.steps[this.done++];
    if (step.blob) this.#show(step.after, ...step.box.split(",", 2).map(Number));
    this.redrawMask();
    return step;
  }

  /** Draw the mask anew from its operations. */
  redrawMask() {
    redraw(this.mask.getContext("2d"), this.operations);
  }

  /** Free the memory of the pictures. */
  close() {
    this.original.close();
    for (const step of this.steps) step.after?.close();
    this.base.width = this.mask.width = 0;
  }

  #push(step) {
    for (const lost of this.steps.splice(this.done)) lost.after?.close();
    this.steps.push(step);
    this.done = this.steps.length;
  }

  #show(image, x, y) {
    const context = this.base.getContext("2d");
    context.clearRect(x, y, image.width, image.height);
    context.drawImage(image, x, y);
  }

}

function makeCanvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}
