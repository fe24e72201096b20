/** The mask: a canvas of the picture's size, drawn from a list of operations, so that it can be drawn again.
 *
 *  @typedef {{kind: "stroke", erase: boolean, size: number, points: {x: number, y: number, force: number}[]}
 *    | {kind: "rect", erase: boolean, points: {x: number, y: number}[]}
 *    | {kind: "lasso", erase: boolean, points: {x: number, y: number}[]}
 *    | {kind: "invert"} | {kind: "clear"} | {kind: "keep"}
 *    | {kind: "load", image: CanvasImageSource, mode: "replace" | "add" | "subtract" | "intersect", x?: number, y?: number, refines?: boolean}} Operation
 *    and `layer: "source"` if it is about where to copy from and not about the hole.
 *    "keep" draws nothing: the mask of the hole that was filled last can be changed. One that refines takes the place of
 *    the operation before it.
 */

export const COLOUR = "#ff2e63";
const SOURCE_COLOUR = "#1e88ff";
const MARKED = 0xff632eff; // the same in memory: ABGR
const MODES = { add: "source-over", subtract: "destination-out", intersect: "destination-in" };

const replaces = ({ kind, mode }) => kind === "clear" || (kind === "load" && !(mode in MODES));

const findColour = ({ layer }) => (layer === "source" ? SOURCE_COLOUR : COLOUR);

/** Draw all operations on an empty mask. */
export function redraw(context, operations) {
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  const counting = operations.filter((_, place) => !operations[place + 1]?.refines);
  const last = counting.findLastIndex(replaces);
  for (const operation of counting.slice(Math.max(0, last))) draw(context, operation);
}

/** Draw one operation. */
export function draw(context, operation) {
  const { width, height } = context.canvas;
  context.fillStyle = context.strokeStyle = findColour(operation);
  context.globalCompositeOperation = operation.erase ? "destination-out" : "source-over";
  if (operation.kind === "stroke") {
    for (let index = 0; index < operation.points.length; index++) drawSegment(context, operation, index);
  } else if (operation.kind === "rect") {
    const [from, to] = operation.points;
    context.fillRect(Math.min(from.x, to.x), Math.min(from.y, to.y), Math.abs(to.x - from.x), Math.abs(to.y - from.y));
  } else if (operation.kind === "lasso") {
    context.fill(trace(operation.points));
  } else if (operation.kind === "invert") {
    context.globalCompositeOperation = "source-out";
    context.fillRect(0, 0, width, height);
  } else if (operation.kind !== "keep") {
    if (replaces(operation)) context.clearRect(0, 0, width, height);
    context.globalCompositeOperation = MODES[operation.mode] ?? "source-over";
    if (operation.kind === "load") context.drawImage(operation.image, operation.x ?? 0, operation.y ?? 0);
  }
  context.globalCompositeOperation = "source-over";
}

/** Draw a stroke's way to one of its points; returns the box that changed. */
export function drawSegment(context, stroke, index) {
  const to = stroke.points[index];
  const from = stroke.points[Math.max(0, index - 1)];
  const size = Math.max(1, stroke.size * to.force);
  context.fillStyle = context.strokeStyle = findColour(stroke);
  context.globalCompositeOperation = stroke.erase ? "destination-out" : "source-over";
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = size;
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.lineTo(to.x + (from === to ? 0.01 : 0), to.y);
  context.stroke();
  const reach = size / 2 + 2;
  const [left, top] = [Math.min(from.x, to.x) - reach, Math.min(from.y, to.y) - reach];
  return { x: left, y: top, width: Math.abs(from.x - to.x) + 2 * reach, height: Math.abs(from.y - to.y) + 2 * reach };
}

/** A path through points. */
export function trace(points, closed = true) {
  const path = new Path2D();
  for (const { x, y } of points) path.lineTo(x, y);
  if (closed) path.closePath();
  return path;
}

/** Whether anything may be marked after these operations. */
export function marks(operations) {
  return operations.reduce((any, operation) => (operation.kind === "clear" ? false : any || adds(operation)), false);
}

const adds = ({ kind, erase, mode }) => !erase && kind !== "keep" && !["subtract", "intersect"].includes(mode);

/** Whether an operation changes the mask that is there; others begin a new one where a hole has been filled. */
export const continues = ({ kind, erase, mode }) =>
  Boolean(erase) || ["invert", "keep"].includes(kind) || ["subtract", "intersect"].includes(mode);

/** The mask as a black and white PNG. */
export function toFile(mask) {
  const canvas = new OffscreenCanvas(mask.width, mask.height);
  const context = canvas.getContext("2d");
  context.drawImage(mask, 0, 0);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, mask.width, mask.height);
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = "#000";
  context.fillRect(0, 0, mask.width, mask.height);
  return canvas.convertToBlob({ type: "image/png" });
}

/** The pixels of an image, one word each: ABGR. @returns {Uint32Array} */
function readWords(image) {
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer);
}

const isClear = (word) => word >>> 24 < 128;
const isBright = (word) => (word & 255) * 299 + ((word >> 8) & 255) * 587 + ((word >> 16) & 255) * 114 >= 127_500;

/** A mask file as an operation: bright is marked, or what is transparent if it has alpha. */
export function fromImage(image, mode = "replace") {
  const words = readWords(image);
  return fromPixels(words, image.width, hasClear(words) ? isClear : isBright, mode);
}

/** Whether any pixel is clear; a loop, since `some` takes ten times as long. @param {Uint32Array} words */
function hasClear(words) {
  for (let index = 0; index < words.length; index++) if (isClear(words[index])) return true;
  return false;
}

/** What a test says of pixels as an operation; `count` pixels are marked in it.
 *  @param {Uint32Array} words ABGR @param {(word: number) => boolean} isMarked */
export function fromPixels(words, width, isMarked, mode) {
  const canvas = new OffscreenCanvas(width, words.length / width);
  const pixels = new ImageData(canvas.width, canvas.height);
  const marked = new Uint32Array(pixels.data.buffer);
  let count = 0;
  for (let index = 0; index < words.length; index++) {
    if (!isMarked(words[index])) continue;
    marked[index] = MARKED;
    count++;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return { kind: "load", image: canvas, mode, count };
}

/** How much is marked. @returns {"none" | "some" | "all"} */
export function coverage(mask) {
  const context = mask.getContext("2d", { willReadFrequently: true });
  const rows = Math.max(1, Math.floor(1e6 / Math.max(1, mask.width)));
  let marked = false;
  let free = false;
  for (let top = 0; top < mask.height && !(marked && free); top += rows) {
    const { data } = context.getImageData(0, top, mask.width, Math.min(rows, mask.height - top));
    for (let place = 3; place < data.length && !(marked && free); place += 4) {
      marked ||= data[place] >= 128;
      free ||= data[place] < 128;
    }
  }
  return !marked ? "none" : free ? "some" : "all";
}

const TRIAL = 128; // pixels of the longer side of the copy that is looked at

/** The pixels of a small copy of an image, RGBA. */
function sample(image, smooth) {
  const scale = Math.min(1, TRIAL / Math.max(image.width, image.height));
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.round(side * scale)));
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = smooth;
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

/** Whether an image is black and white and nothing between, as masks are. */
export function looksLikeMask(image) {
  const data = sample(image, false);
  let [dark, bright] = [0, 0];
  for (let place = 0; place < data.length; place += 4) {
    const [red, green, blue] = data.slice(place, place + 3);
    if (Math.max(red, green, blue) < 24) dark++;
    else if (Math.min(red, green, blue) > 231) bright++;
  }
  return dark > 0 && bright > 0 && (dark + bright) * 4 >= data.length * 0.98;
}

/** Whether any pixel of an image lets something through. */
export function hasHoles(image, type = "") {
  if (["image/jpeg", "image/bmp"].includes(type)) return false;
  const context = new OffscreenCanvas(image.width, 64).getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < image.height; top += 64) {
    const height = Math.min(64, image.height - top);
    context.clearRect(0, 0, image.width, 64);
    context.drawImage(image, 0, -top);
    const words = new Uint32Array(context.getImageData(0, 0, image.width, height).data.buffer);
    if (words.some((word) => word >>> 24 !== 255)) return true;
  }
  return false;
}
