/** What is seen: the picture, the mask and its marks, zoomed and moved, drawn at most once a frame. */

import { drawMarks } from "./marks.js";

const MOST = 32; // screen pixels per picture pixel, when zoomed in
const FITTING_MOST = 2; // and when fitted: small pictures are enlarged up to this
const LINE = 64; // window pixels kept free above the dock, for the hint and the variants

export class View {
  scale = 1;
  /** Where the picture's corner is in the window, on whole pixels of the screen. */
  x = 0;
  y = 0;
  /** The same, not rounded: small movements add up. */
  #corner = { x: 0, y: 0 };
  /** Share of the width left of which the original shows; null when nothing is compared. */
  split = null;
  original = false;
  /** Draws an operation that is being made and is not in the mask yet. @type {((context: CanvasRenderingContext2D) => void) | null} */
  draft = null;
  /** Picture pixels by which the next fill widens the mask; shown round it. */
  grow = 0;
  /** Picture pixels round the picture that are to be seen too, while the canvas is being extended. */
  border = { left: 0, top: 0, right: 0, bottom: 0 };
  /** Size of the picture when it was fitted last. */
  shown = { width: 0, height: 0 };
  onchange = () => {};
  #dirty = { picture: false, mask: null };
  #frame = 0;

  /** @param {HTMLCanvasElement} picture @param {HTMLCanvasElement} marks @param {HTMLCanvasElement} overlay */
  constructor(picture, marks, overlay) {
    this.contexts = [picture, marks, overlay].map((canvas) => canvas.getContext("2d"));
    this.element = overlay;
    new ResizeObserver(() => this.#resize()).observe(overlay);
  }

  /** Show a work, fitted to the window. */
  open(work) {
    this.work = work;
    this.#resize();
    this.fit();
  }

  /** The part of the window that the floating controls leave: its edges. */
  get room() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const shelf = document.querySelector(".shelf").getBoundingClientRect().height;
    const dock = document.querySelector(".tools").getBoundingClientRect();
    const { top, right } = this.element.getBoundingClientRect();
    const beside = dock.height > dock.width; // a phone on its side has the dock at the right
    const below = beside ? LINE : top + height - dock.top + (height > 460 ? LINE : 0);
    const rim = Object.values(this.border).some(Boolean) ? 24 : 16; // handles stand half outside
    return { left: rim, top: rim + shelf, right: beside ? dock.left - rim - (right - width) : width - rim, bottom: height - below - rim };
  }

  /** How much of the window is free above and below the picture. */
  get margins() {
    const below = this.element.clientHeight - this.y - this.work.height * this.scale;
    return [this.y, below].map((margin) => Math.max(0, margin));
  }

  get fitting() {
    const { room, border, work } = this;
    const wide = (room.right - room.left) / (work.width + border.left + border.right);
    return Math.min(FITTING_MOST, wide, (room.bottom - room.top) / (work.height + border.top + border.bottom));
  }

  /** Show all of the picture; until it is zoomed or moved, it stays fitted when the window changes. */
  fit() {
    this.fitted = true;
    this.shown = { width: this.work.width, height: this.work.height };
    const { room, border, work } = this;
    this.scale = this.fitting;
    const centre = (from, to, before, side, after) => (from + to + (before - side - after) * this.scale) / 2;
    this.#settle(
      centre(room.left, room.right, border.left, work.width, border.right),
      centre(room.top, room.bottom, border.top, work.height, border.bottom),
    );
  }

  /** Zoom by a factor; the point (x, y) of the window stays where it is. */
  zoom(factor, x = this.element.clientWidth / 2, y = this.element.clientHeight / 2) {
    const least = Math.min(1, this.fitting) / 4;
    const scale = Math.min(MOST, Math.max(least, this.scale * factor));
    const corner = this.#corner;
    this.#corner = { x: x - ((x - corner.x) * scale) / this.scale, y: y - ((y - corner.y) * scale) / this.scale };
    this.scale = scale;
    this.move(0, 0);
  }

  /** Move the picture by pixels of the window; some of it stays in sight. */
  move(x, y) {
    const { clientWidth: width, clientHeight: height } = this.element;
    const rim = 60;
    this.fitted = false;
    this.#settle(
      Math.min(width - rim, Math.max(rim - this.work.width * this.scale, this.#corner.x + x)),
      Math.min(height - rim, Math.max(rim - this.work.height * this.scale, this.#corner.y + y)),
    );
  }

  /** Put the picture's corner on a whole pixel of the screen, so that its edges are sharp. */
  #settle(x, y) {
    this.#corner = { x, y };
    [this.x, this.y] = [x, y].map((place) => Math.round(place * devicePixelRatio) / devicePixelRatio);
    this.redraw();
  }

  /** A point of the window as a point of the picture. */
  toPicture(x, y) {
    return { x: (x - this.x) / this.scale, y: (y - this.y) / this.scale };
  }

  toWindow({ x, y }) {
    return { x: x * this.scale + this.x, y: y * this.scale + this.y };
  }

  redraw() {
    this.#dirty.picture = true;
    this.redrawMask();
  }

  /** Draw the mask again, all of it or a box of the picture. */
  redrawMask(box = null) {
    const whole = { x: 0, y: 0, width: Infinity, height: Infinity };
    this.#dirty.mask = unite(this.#dirty.mask, box ?? whole);
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!this.work || !width) return;
    const ratio = devicePixelRatio;
    for (const { canvas } of this.contexts) {
      [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    }
    if (this.fitted) this.fit();
    else this.redraw();
  }

  #draw() {
    this.#frame = 0;
    const { picture, mask } = this.#dirty;
    this.#dirty = { picture: false, mask: null };
    if (!this.work) return;
    if (picture) this.#drawPicture(this.contexts[0]);
    drawMarks(this.contexts[1], this);
    this.#drawMask(this.contexts[2], mask);
    if (picture) this.onchange();
  }

  /** Let what is drawn next be in pixels of the picture. */
  begin(context) {
    const ratio = devicePixelRatio;
    context.setTransform(ratio * this.scale, 0, 0, ratio * this.scale, ratio * this.x, ratio * this.y);
    context.imageSmoothingEnabled = this.scale * ratio < 2;
  }

  #drawPicture(context) {
    const { work } = this;
    const { width, height } = context.canvas;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    this.begin(context);
    this.#drawGround(context, work.width);
    context.drawImage(this.original ? work.original : work.base, 0, 0);
    if (this.split === null || this.original) return;
    const edge = Math.min(work.width, Math.max(0, (this.split * this.element.clientWidth - this.x) / this.scale));
    context.save();
    context.beginPath();
    context.rect(0, 0, edge, work.height);
    context.clip();
    if (!work.opaque) context.clearRect(0, 0, edge, work.height);
    this.#drawGround(context, edge);
    context.drawImage(work.original, 0, 0);
    context.restore();
  }

  #drawMask(context, box) {
    const { width, height } = context.canvas;
    const ratio = devicePixelRatio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.save();
    if (Number.isFinite(box.width)) {
      const { x, y } = this.toWindow(box);
      const left = Math.floor(x * ratio) - 1;
      const top = Math.floor(y * ratio) - 1;
      context.beginPath();
      context.rect(left, top, Math.ceil(box.width * this.scale * ratio) + 3, Math.ceil(box.height * this.scale * ratio) + 3);
      context.clip();
    }
    context.clearRect(0, 0, width, height);
    if (!this.original && this.split === null) {
      this.begin(context);
      if (this.work.source.width) context.drawImage(this.work.source, 0, 0);
      if (!this.work.isOutlined) context.drawImage(this.work.mask, 0, 0); // what is filled shows as an outline
      this.draft?.(context);
    }
    context.restore();
  }

  /** What shows through transparent pixels. An opaque picture has no ground, which would show along its edges. */
  #drawGround(context, width) {
    if (this.work.opaque) return;
    context.fillStyle = this.#chequers(context);
    context.fillRect(0, 0, width, this.work.height);
  }

  /** Squares that stay the same size on the screen. */
  #chequers(context) {
    if (!this.pattern) {
      const tile = new OffscreenCanvas(16, 16);
      const paint = tile.getContext("2d");
      paint.fillStyle = "#d4d7de";
      paint.fillRect(0, 0, 16, 16);
      paint.fillStyle = "#f4f5f8";
      paint.fillRect(0, 0, 8, 8);
      paint.fillRect(8, 8, 8, 8);
      this.pattern = context.createPattern(tile, "repeat");
    }
    this.pattern.setTransform(new DOMMatrix().scale(1 / this.scale));
    return this.pattern;
  }
}

function unite(one, other) {
  if (!one) return other;
  const [x, y] = [Math.min(one.x, other.x), Math.min(one.y, other.y)];
  return {
    x,
    y,
    width: Math.max(one.x + one.width, other.x + other.width) - x,
    height: Math.max(one.y + one.height, other.y + other.height) - y,
  };
}
