/** A picture that is worked on: its file, its mask, and all that was done, in order.
 *
 *  @typedef {import("./mask.js").Operation} Operation
 *  @typedef {{file: Blob, readable: Blob, original: ImageBitmap, width: number, height: number,
 *    format?: string}} Frame a file, and its pixels as the browser reads them: what is filled is drawn over it
 *  @typedef {{blob: Blob, box: string, x: number, y: number, image: ImageBitmap, engine: string, seed: number, grow: number,
 *    feather: number}} Variant one filling of a hole
 *  @typedef {{operations: Operation[], variants: Variant[], box: DOMRect | null}} Hole
 *  @typedef {{operation: Operation, keeps: boolean} | {hole: Hole, variant: Variant, chosen: boolean, thumb: HTMLCanvasElement}
 *    | {frame: Frame, thumb: HTMLCanvasElement}} Step
 */

import { makeCanvas } from "./dom.js";
import { continues, marks, redraw } from "./mask.js";

const THUMB = 96; // pixels of the longer side

export class Work {
  /** @type {Step[]} */ steps = [];
  /** Steps that are in force; those after it can be done again. */
  done = 0;
  #saved = [];
  #begun = false;

  /** @param {Frame} frame @param {string} name @param {boolean} opaque whether every pixel is */
  constructor(frame, name, opaque) {
    Object.assign(this, { opened: frame, name, opaque });
    this.base = makeCanvas(0, 0);
    this.mask = makeCanvas(0, 0);
    /** Where to copy from; of no size while nothing is painted there. */
    this.source = makeCanvas(0, 0);
    this.#compose();
    this.thumb = this.first = thumbnail(this.base);
  }

  get past() { return this.steps.slice(0, this.done); }
  /** The steps that are not about where to copy from. */
  get #holePast() { return this.past.filter((step) => step.operation?.layer !== "source"); }
  /** Where to copy from. @returns {Operation[]} */
  get sources() {
    const { past } = this;
    return past.slice(past.findLastIndex((step) => step.frame) + 1).map((step) => step.operation).filter((each) => each?.layer === "source");
  }
  /** @returns {Frame} */
  get frame() { return this.past.findLast((step) => step.frame)?.frame ?? this.opened; }
  get file() { return this.frame.file; }
  /** The format to save in, where that is not the file's own: an extended canvas is a new file. */
  get format() { return this.frame.format ?? ""; }
  get original() { return this.frame.original; }
  get width() { return this.frame.width; }
  get height() { return this.frame.height; }

  /** The hole that was filled last, while nothing else has been painted: its mask stays, as an outline. @returns {Hole | null} */
  get hole() { return this.#holePast.at(-1)?.hole ?? null; }
  /** The filling of that hole that is shown. @returns {Variant | null} */
  get variant() { return this.#holePast.at(-1)?.variant ?? null; }

  /** What the mask is made of. @returns {Operation[]} */
  get operations() {
    const past = this.#holePast;
    const start = past.findLastIndex((step) => !step.operation);
    const before = past[start]?.hole?.operations ?? [];
    const since = past.slice(start + 1);
    const fresh = past[start]?.hole && since.length && !since[0].keeps;
    return [...(fresh ? [] : before), ...since.map((step) => step.operation)];
  }

  /** What was filled: for each hole the filling that counts. @returns {Variant[]} */
  get patches() { return this.#patches(null); }

  /** Whether the mask is that of what has been filled, and nothing new is being painted. */
  get isOutlined() { return Boolean(this.hole) && !this.#begun; }
  get hasHole() { return marks(this.operations); }
  get hasUnfilled() { return !this.hole && this.hasHole; }
  get isTouched() { return this.patches.length > 0 || this.frame !== this.opened; }
  get isParked() { return this.base.width === 0; }
  /** The box round the hole that was filled last. @returns {DOMRect | null} */
  get lastBox() { return this.past.findLast((step) => step.hole)?.hole.box ?? null; }
  get isSaved() { return this.isTouched && same(this.#state, this.#saved); }
  get isUnsaved() { return this.isTouched && !same(this.#state, this.#saved); }
  get canUndo() { return this.done > 0; }
  get canRedo() { return this.done < this.steps.length; }

  /** The picture as it was before a hole was filled, as the server takes it. */
  describe(but = null) {
    return { file: this.file, name: this.name, patches: this.#patches(but) };
  }

  /** Note an operation that is drawn on the mask, or will be by `redrawMask`. */
  note(operation) {
    this.#begun = false;
    this.#push({ operation, keeps: continues(operation) });
  }

  /** Get ready for an operation that is drawn while it is made. */
  begin(operation) {
    if (operation.layer === "source") return this.#fitSource();
    this.#begun = true;
    if (this.hole && !continues(operation)) redraw(this.mask.getContext("2d"), []);
  }

  /** The hole of the present mask. @returns {Hole} */
  makeHole() {
    return { operations: this.operations, variants: [], box: null };
  }

  /** Lay a filling of a hole over the picture. @param {Hole} hole @param {Variant} variant */
  place(hole, variant) {
    hole.variants.push(variant);
    hole.box = unite(hole.box, new DOMRect(variant.x, variant.y, variant.image.width, variant.image.height));
    this.#push({ hole, variant, chosen: false });
    this.#show(this.steps[this.done - 1]);
  }

  /** Show another filling of the hole that was filled last. Choices that follow one another are one step. */
  choose(variant) {
    const { hole } = this;
    if (!hole || variant === this.variant) return;
    if (this.steps[this.done - 1].chosen) this.done--;
    this.#push({ hole, variant, chosen: true });
    this.#show(this.steps[this.done - 1]);
  }

  /** Continue from another frame: a larger canvas, or the file as it was opened. @param {Frame} frame */
  reframe(frame) {
    this.#push({ frame });
    this.#show(this.steps[this.done - 1]);
  }

  /** Go back to the file as it was opened. */
  restart() {
    this.reframe(this.opened);
  }

  /** Take the last step back. */
  undo() {
    this.#show(this.steps[--this.done], false);
  }

  /** Do the next step again. */
  redo() {
    this.#show(this.steps[this.done++], false);
  }

  /** Go to the state after `count` steps. */
  goTo(done) {
    this.done = done;
    this.#show({ frame: this.frame }, false);
  }

  /** Draw the mask again from its operations. */
  redrawMask() {
    this.#begun = false;
    redraw(this.mask.getContext("2d"), this.operations);
    if (this.sources.length) this.#fitSource();
    redraw(this.source.getContext("2d"), this.sources);
  }

  /** The canvas that an operation is drawn on. */
  layer(operation) {
    return operation.layer === "source" ? this.source : this.mask;
  }

  #fitSource() {
    const { width, height } = this;
    if (this.source.width !== width || this.source.height !== height) Object.assign(this.source, { width, height });
  }

  /** Note that the present state is in a file. */
  noteSaved() {
    this.#saved = this.#state;
  }

  /** Give the memory of the pixels back until the picture is shown again. */
  park() {
    for (const frame of this.#frames) frame.original?.close();
    for (const frame of this.#frames) frame.original = null;
    for (const canvas of [this.base, this.mask, this.source]) canvas.width = canvas.height = 0;
  }

  /** Read the pixels again. */
  async wake() {
    for (const frame of this.#frames) frame.original ??= await createImageBitmap(frame.readable);
    this.#compose();
    this.redrawMask();
  }

  get #frames() {
    return new Set([this.opened, ...this.steps.map((step) => step.frame).filter(Boolean)]);
  }

  get #state() { return [this.frame.readable, ...this.patches]; }

  #patches(but) {
    /** @type {Map<Hole, Variant>} */ const last = new Map();
    for (const step of this.past) {
      if (step.frame) last.clear();
      if (step.hole) last.set(step.hole, step.variant);
    }
    last.delete(but);
    return [...last.values()];
  }

  #push(step) {
    for (const { variant } of this.steps.splice(this.done)) {
      if (variant && !this.steps.some(({ hole }) => hole?.variants.includes(variant))) variant.image.close();
    }
    this.steps.push(step);
    this.done = this.steps.length;
  }

  #show(step, fresh = true) {
    if (this.isParked) return;
    if (step.hole) this.#compose(step.hole.box);
    if (step.frame) this.#compose();
    this.redrawMask();
    if (fresh) step.thumb = thumbnail(this.base);
    if (!step.operation) this.thumb = thumbnail(this.base);
  }

  /** Draw the frame and what was filled, or a box of it. */
  #compose(box = null) {
    const { width, height, original } = this.frame;
    const whole = this.base.width !== width || this.base.height !== height;
    if (whole) for (const canvas of [this.base, this.mask]) Object.assign(canvas, { width, height });
    const { x, y, width: wide, height: high } = (!whole && box) || new DOMRect(0, 0, width, height);
    const context = this.base.getContext("2d");
    context.save();
    context.beginPath();
    context.rect(x, y, wide, high);
    context.clip();
    context.clearRect(x, y, wide, high);
    context.drawImage(original, 0, 0);
    for (const patch of this.patches) {
      context.clearRect(patch.x, patch.y, patch.image.width, patch.image.height);
      context.drawImage(patch.image, patch.x, patch.y);
    }
    context.restore();
  }
}

/** A small picture of a canvas, or of a box of it. */
export function thumbnail(source, box = new DOMRect(0, 0, source.width, source.height), side = THUMB) {
  const scale = Math.min(1, side / Math.max(box.width, box.height));
  const small = makeCanvas(Math.max(1, Math.round(box.width * scale)), Math.max(1, Math.round(box.height * scale)));
  const context = small.getContext("2d");
  context.imageSmoothingQuality = "medium";
  context.drawImage(source, box.x, box.y, box.width, box.height, 0, 0, small.width, small.height);
  return small;
}

/** The smallest box round two. */
export function unite(one, other) {
  if (!one || !other) return one ?? other;
  const [x, y] = [Math.min(one.x, other.x), Math.min(one.y, other.y)];
  return new DOMRect(x, y, Math.max(one.right, other.right) - x, Math.max(one.bottom, other.bottom) - y);
}

/** Whether two lists hold the same things. */
export const same = (one, other) => one.length === other.length && one.every((each, place) => each === other[place]);
