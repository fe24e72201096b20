/** Lines round the mask: where the last fill was, and how far the next one reaches beyond what is painted. */

import { COLOUR } from "./mask.js";

/** Draw the marks of a view on a canvas of the window's size. @param {import("./view.js").View} view */
export function drawMarks(context, view) {
  const { canvas } = context;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (view.original || view.split !== null) return;
  const { isOutlined } = view.work;
  const reach = isOutlined ? 0 : view.grow * view.scale * devicePixelRatio;
  if (!isOutlined && reach < 0.5) return;
  const shape = drawShape(view, canvas);
  if (isOutlined) {
    context.drawImage(drawRim(shape, 2.2 * devicePixelRatio, "rgb(0 0 0 / .6)"), 0, 0);
    context.drawImage(drawRim(shape, 1.1 * devicePixelRatio, "#fff"), 0, 0);
  } else {
    context.save();
    clip(context, view); // nothing is filled beside the picture
    context.globalAlpha = 0.35;
    context.drawImage(drawRim(shape, reach, COLOUR), 0, 0);
    context.restore();
  }
}

/** Draw on the picture only. */
function clip(context, { x, y, scale, work }) {
  const ratio = devicePixelRatio;
  context.beginPath();
  context.rect(ratio * x, ratio * y, ratio * scale * work.width, ratio * scale * work.height);
  context.clip();
}

/** The mask as the window shows it. */
function drawShape(view, { width, height }) {
  const shape = new OffscreenCanvas(width, height);
  const context = shape.getContext("2d");
  view.begin(context);
  context.drawImage(view.work.mask, 0, 0);
  view.draft?.(context);
  return shape;
}

/** What is within `reach` pixels of a shape and not in it: the shape moved all round, less itself. */
function drawRim(shape, reach, colour) {
  const rim = new OffscreenCanvas(shape.width, shape.height);
  const context = rim.getContext("2d");
  const turns = Math.min(48, Math.max(12, Math.ceil(reach * 1.5)));
  for (let turn = 0; turn < turns; turn++) {
    const angle = (2 * Math.PI * turn) / turns;
    context.drawImage(shape, reach * Math.cos(angle), reach * Math.sin(angle));
  }
  context.globalCompositeOperation = "source-in";
  context.fillStyle = colour;
  context.fillRect(0, 0, rim.width, rim.height);
  context.globalCompositeOperation = "destination-out";
  context.drawImage(shape, 0, 0);
  return rim;
}
