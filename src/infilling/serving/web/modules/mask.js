/** The mask: a canvas of the picture's size, drawn from a list of operations that can be drawn again.
 *
 *  @typedef {{kind: "stroke", erase: boolean, size: number, points: {x: number, y: number, force: number}[]}
 *    | {kind: "rect", erase: boolean, points: {x: number, y: number}[]}
 *    | {kind: "lasso", erase: boolean, points: {x: number, y: number}[]}
 *    | {kind: "invert"} | {kind: "clear"} | {kind: "load", image: CanvasImageSource}} Operation
 */

export const COLOUR = "#ff2e63";

/** Draw all operations on an empty mask. */
export function redraw(context, operations) {
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  const last = operations.findLastIndex((operation) => operation.kind === "clear" || operation.kind === "load");
  for (const operation of operations.slice(Math.max(0, last))) draw(context, operation);
}

/** Draw one operation. */
export function draw(context, operation) {
  const { width, height } = context.canvas;
  context.fillStyle = context.strokeStyle = COLOUR;
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
  } else {
    context.clearRect(0, 0, width, height);
    if (operation.kind === "load") context.drawImage(operation.image, 0, 0);
  }
  context.globalCompositeOperation = "source-over";
}

/** Draw a stroke's way to one of its points; returns the box that changed. */
export function drawSegment(context, stroke, index) {
  const to = stroke.points[index];
  const from = stroke.points[Math.max(0, index - 1)];
  const size = Math.max(1, stroke.size * to.force);
  context.fillStyle = context.strokeStyle = COLOUR;
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

/** A closed path through points. */
export function trace(points) {
  const path = new Path2D();
  for (const { x, y } of points) path.lineTo(x, y);
  path.closePath();
  return path;
}

/** Whether anything may be marked after these operations. */
export function marks(operations) {
  return operations.reduce((any, { kind, erase }) => (kind === "clear" ? false : any || !erase), false);
}

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

/** A mask file as an operation: bright is marked, or what is transparent if it has alpha. */
export function fromImage(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height);
  const { data } = pixels;
  const words = new Uint32Array(data.buffer);
  let through = false;
  for (let place = 3; place < data.length && !through; place += 4) through = data[place] < 128;
  for (let place = 0, index = 0; index < words.length; place += 4, index++) {
    const bright = data[place] * 299 + data[place + 1] * 587 + data[place + 2] * 114 >= 127_500;
    words[index] = (through ? data[place + 3] < 128 : bright) ? 0xff632eff : 0; // ABGR of COLOUR
  }
  context.putImageData(pixels, 0, 0);
  return { kind: "load", image: canvas };
}
