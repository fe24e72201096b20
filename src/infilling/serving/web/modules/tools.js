/** Tools: what a mouse, a pen, fingers and arrow keys do on the picture. */

import { COLOUR, draw, drawSegment, trace } from "./mask.js";

/** What a tool makes; the others paint strokes. A "scribble" and a "pick" draw nothing: they say where something is. */
const KINDS = { rect: "rect", lasso: "lasso", select: "scribble", colour: "pick" };
const POINTS = ["scribble", "pick"];
const USUAL = 28; // window pixels: the diameter that a brush has at first

export class Tools {
  name = "brush";
  /** Where the brush's size is between the smallest and the largest, 0 to 100; equal steps feel equal. */
  share = 60;
  /** Diameter in window pixels that the reader has chosen; the next picture gets it too. */
  diameter = USUAL;
  /** The brush as the arrow keys move it; null while a pointer does. */
  key = null;
  panning = false;
  enabled = true;
  #pointers = new Map();
  #making = null;
  #pinch = null;

  /** What happens to operations; given by editing.js.
   *  @type {{begin: (operation: object) => void, commit: (operation: object | null) => void, changed: () => void}} */
  listener = { begin() {}, commit() {}, changed() {} };

  /** @param {import("./view.js").View} view @param {HTMLElement} cursor */
  constructor(view, cursor) {
    Object.assign(this, { view, cursor });
    const { element } = view;
    element.addEventListener("pointerdown", (event) => this.#down(event));
    element.addEventListener("pointermove", (event) => this.#move(event));
    element.addEventListener("pointerup", (event) => this.#up(event));
    element.addEventListener("pointercancel", (event) => this.#up(event, true));
    element.addEventListener("pointerleave", () => {
      if (this.#making) return;
      this.at = null;
      this.#place();
    });
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    view.onchange = () => this.#place();
  }

  /** Largest diameter in pixels of the picture. */
  get #most() {
    return Math.max(16, Math.max(this.view.work?.width ?? 0, this.view.work?.height ?? 0) / 3);
  }

  /** Diameter of the brush in pixels of the picture. */
  get size() {
    return Math.max(1, Math.round(this.#most ** (this.share / 100)));
  }

  /** Give the brush the size on the screen that it had on the picture before. */
  fit() {
    const size = Math.min(this.#most, Math.max(1, this.diameter / this.view.scale));
    this.share = (100 * Math.log(size)) / Math.log(this.#most);
  }

  resize(steps) {
    this.setShare(this.share + steps);
  }

  setShare(share) {
    this.share = Math.min(100, Math.max(0, share));
    if (this.view.work) this.diameter = this.size * this.view.scale;
    this.#place();
    this.listener.changed();
  }

  choose(name) {
    this.name = name;
    this.#place();
    this.listener.changed();
  }

  /** Hold Space to move the picture. */
  pan(wanted) {
    this.panning = wanted;
    this.#place();
  }

  /** Move the brush of the keyboard by pixels of the window; `painting` draws along. */
  step(x, y, painting) {
    const { view } = this;
    this.key ??= view.toPicture(view.element.clientWidth / 2, view.element.clientHeight / 2);
    const { work } = view;
    this.key = {
      x: Math.min(work.width, Math.max(0, this.key.x + x / view.scale)),
      y: Math.min(work.height, Math.max(0, this.key.y + y / view.scale)),
    };
    const seen = view.toWindow(this.key);
    const { clientWidth: width, clientHeight: height } = view.element;
    if (seen.x < 0 || seen.y < 0 || seen.x > width || seen.y > height) view.move(width / 2 - seen.x, height / 2 - seen.y);
    if (painting && this.#making) this.#extend({ ...this.key, force: 1 });
    this.#place();
  }

  /** Begin, or end, to paint with the keyboard. */
  press(down, erase) {
    if (down && !this.#making && this.enabled) {
      this.step(0, 0, false);
      this.#begin(KINDS[this.name] ?? "stroke", { ...this.key, force: 1 }, erase);
    } else if (!down && this.#making) {
      this.#end();
    }
  }

  /** Give up what is being drawn. */
  abandon() {
    if (!this.#making) return false;
    this.#making = null;
    this.view.draft = null;
    this.listener.commit(null);
    this.view.redrawMask();
    return true;
  }

  #down(event) {
    const { view } = this;
    view.element.setPointerCapture(event.pointerId);
    view.element.focus({ preventScroll: true });
    this.key = null;
    this.#pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    this.#place(event);
    if (this.#pointers.size === 2) {
      this.abandon();
      this.#pinch = this.#span();
      return;
    }
    const moves = this.panning || event.button === 1 || this.name === "hand" || view.split !== null || !this.enabled;
    if (moves || this.#pointers.size > 2) {
      document.body.dataset.cursor = "grabbing";
      return;
    }
    if (event.button !== 0) return;
    const point = this.#point(event);
    const erase = this.name === "eraser" || event.altKey || (event.pointerType === "pen" && (event.buttons & 32) > 0);
    this.#begin(KINDS[this.name] ?? "stroke", point, erase);
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (event.pointerType !== "touch") this.#place(event);
    if (!before) return;
    this.key = null;
    const now = { x: event.offsetX, y: event.offsetY };
    this.#pointers.set(event.pointerId, now);
    if (this.#pinch) {
      const span = this.#span();
      this.view.zoom(span.length / this.#pinch.length, span.x, span.y);
      this.view.move(span.x - this.#pinch.x, span.y - this.#pinch.y);
      this.#pinch = span;
    } else if (this.#making) {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) this.#extend(this.#point(each));
    } else {
      this.view.move(now.x - before.x, now.y - before.y);
    }
  }

  #up(event, given = false) {
    this.#pointers.delete(event.pointerId);
    if (this.#pinch) {
      if (this.#pointers.size < 2) this.#pinch = null;
      if (this.#pointers.size === 1) this.#pointers.clear(); // the finger that stays draws nothing
    } else if (given) {
      this.abandon();
    } else if (this.#making) {
      this.#end();
    }
    this.#place(event);
    if (event.pointerType === "touch") this.cursor.hidden = true;
  }

  #wheel(event) {
    event.preventDefault();
    if (!this.view.work) return;
    const turn = -(event.deltaY || event.deltaX) * [1, 16, 400][event.deltaMode];
    if (event.shiftKey || event.altKey) this.resize(Math.sign(turn) * 2);
    else this.view.zoom(Math.exp(Math.max(-1, Math.min(1, turn * (event.ctrlKey ? 0.01 : 0.002)))), event.offsetX, event.offsetY);
    this.#place(event);
  }

  #begin(kind, point, erase) {
    const { view } = this;
    const layer = this.name === "source" ? "source" : undefined;
    this.#making = { kind, erase, layer, size: this.size, points: [point] };
    if (!POINTS.includes(kind)) this.listener.begin(this.#making);
    if (kind === "stroke") {
      view.redrawMask(drawSegment(view.work.layer(this.#making).getContext("2d"), this.#making, 0));
    } else {
      if (kind === "rect") this.#making.points.push(point);
      view.draft = (context) => this.#preview(context);
    }
  }

  #extend(point) {
    const { view } = this;
    const { kind, points } = this.#making;
    if (kind === "stroke") {
      points.push(point);
      view.redrawMask(drawSegment(view.work.layer(this.#making).getContext("2d"), this.#making, points.length - 1));
    } else {
      if (kind === "rect") points[1] = point;
      else points.push(point);
      view.redrawMask();
    }
  }

  #end() {
    const operation = this.#making;
    this.#making = null;
    this.view.draft = null;
    const [from, to] = [operation.points[0], operation.points.at(-1)];
    const empty = ["rect", "lasso"].includes(operation.kind) && Math.hypot(to.x - from.x, to.y - from.y) < 1 && operation.points.length < 3;
    if (!empty && ["rect", "lasso"].includes(operation.kind)) draw(this.view.work.mask.getContext("2d"), operation);
    this.listener.commit(empty ? null : operation);
    this.view.redrawMask();
  }

  #preview(context) {
    const { kind, erase, points } = this.#making;
    draw(context, this.#making);
    context.strokeStyle = erase ? "#fff" : COLOUR;
    context.lineWidth = (kind === "scribble" ? 6 : 1.5) / this.view.scale;
    context.lineCap = context.lineJoin = "round";
    const [from, to] = points;
    if (kind === "rect") context.strokeRect(from.x, from.y, to.x - from.x, to.y - from.y);
    else if (kind === "lasso") context.stroke(trace(points));
    else context.stroke(trace(points, false));
  }

  #point(event) {
    const force = event.pointerType === "pen" && event.pressure ? 0.3 + 0.7 * event.pressure : 1;
    return { ...this.view.toPicture(event.offsetX, event.offsetY), force };
  }

  #span() {
    const [one, other] = [...this.#pointers.values()];
    return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, length: Math.max(10, Math.hypot(one.x - other.x, one.y - other.y)) };
  }

  /** Put the ring where the brush is. */
  #place(event) {
    const { cursor, view } = this;
    if (event) this.at = { x: event.offsetX, y: event.offsetY };
    const at = this.key ? view.toWindow(this.key) : this.at;
    const moves = this.panning || this.name === "hand" || view.split !== null;
    const rings = !moves && ["brush", "heal", "source", "eraser"].includes(this.name);
    const shown = at && (rings || (this.key && !moves));
    document.body.dataset.cursor = moves ? (this.#pointers.size ? "grabbing" : "grab") : rings ? "" : "cross";
    cursor.hidden = !shown;
    if (!shown) return;
    const size = rings ? Math.max(4, this.size * view.scale) : 8;
    cursor.style.width = cursor.style.height = `${size}px`;
    cursor.style.transform = `translate(${at.x - size / 2}px, ${at.y - size / 2}px)`;
  }
}
