/** Fills: a new hole, or another filling of the one that was filled last. */

import { changed, desk, settings, view } from "./desk.js";
import { $, round } from "./dom.js";
import { chooseVariant } from "./editing.js";
import { still, varies } from "./engines.js";
import { coverage, toFile } from "./mask.js";
import { advise, busy, complain, explain, pass, quiet, tell } from "./notice.js";
import * as requests from "./requests.js";
import { Refusal, follow } from "./server.js";
import { say } from "./strings.js";
import { upload } from "./uploads.js";

/** @typedef {{engine: string, seed: number, source: number, grow: number, feather: number}} Order */

/** Fill the hole; the hole that was filled last gets another filling.
 *  @param {string | null} engine one that is asked for; null takes the next in turn */
export async function fill(engine = null) {
  const { work } = desk;
  if (!work || desk.running) return;
  quiet();
  const marked = coverage(work.mask);
  if (!work.hasHole || marked === "none") return complain(say("problem.nothing"));
  if (marked === "all") return complain(say("problem.all"));
  const hole = work.hole ?? work.makeHole();
  const order = choose(hole, engine);
  if (!order) return complain(say("problem.variants"));
  const made = findVariant(hole, order);
  if (made) return chooseVariant(made);
  await run((control) => fillAll(work, hole, order, control), () => fill(engine));
}

/** What to ask for next. @returns {Order | null} null: everything has been tried */
function choose(hole, engine) {
  const { sources, source: painted } = desk.work;
  const hasSource = desk.options.has("source") && coverage(painted) !== "none"; // a stroke beside the picture marks nothing
  const source = hasSource ? sources.length : 0; // another one after every stroke
  const order = (name, seed = 0) => ({ engine: name, seed, source, ...settings() });
  const isNew = (wanted) => !findVariant(hole, wanted);
  if (engine) return order(engine);
  if (isNew(order(desk.engine))) return order(desk.engine);
  const last = desk.work.variant?.engine ?? desk.engine;
  if (varies(last)) {
    const seeds = hole.variants.filter((variant) => variant.engine === last).map((variant) => variant.seed);
    return order(last, Math.max(0, ...seeds) + 1);
  }
  const names = desk.info.engines.map(({ name }) => name);
  const turn = names.indexOf(last) + 1;
  const next = [...names.slice(turn), ...names.slice(0, turn)].find((name) => isNew(order(name)));
  return next ? order(next) : null;
}

const KEYS = ["engine", "seed", "source", "grow", "feather"];
const findVariant = (hole, order) => hole.variants.find((variant) => KEYS.every((key) => variant[key] === order[key]));

/** Do something that can be cancelled and whose progress is shown.
 *  @param {(control: {signal: AbortSignal, since: number}) => Promise<void>} action @param {() => void} retry does it again
 *  @param {(seconds: number) => string} done what is said at the end @param {string} first the sentence that is shown at once */
export async function run(action, retry, done = (seconds) => say("done.fill", { seconds }), first = "state.sending") {
  const pressed = document.activeElement;
  desk.running = new AbortController();
  const since = performance.now();
  busy(say(first));
  changed();
  try {
    await action({ signal: desk.running.signal, since });
    tell(done(round((performance.now() - since) / 1000)));
  } catch (error) {
    if (error.name === "AbortError") tell(say("done.cancel"));
    else explain(error, retry);
  } finally {
    desk.running = null;
    busy(null);
    changed();
    view.redraw();
    if (document.body.dataset.hand === "keys") goBack(pressed);
  }
}

/** Give the focus back to a button that was disabled meanwhile; those of engines have been replaced. */
function goBack({ id, dataset }) {
  if (![document.body, $("overlay")].includes(document.activeElement)) return;
  if (dataset.engine) document.querySelector(`[data-engine="${CSS.escape(dataset.engine)}"]`).focus();
  else if (id) $(id).focus();
}

/** Fill a hole of one picture, and with one mask for all the same hole of the others. */
async function fillAll(work, hole, order, control) {
  const mask = await toFile(work.mask);
  const fits = (other) => desk.shared && other !== work && other.width === work.width && other.height === work.height;
  const others = desk.works.filter(fits);
  const count = others.length + 1;
  await fillOne(work, hole, order, mask, { ...control, place: 1, count });
  view.redraw();
  for (const [index, other] of others.entries()) {
    const same = other.hole?.operations === hole.operations ? other.hole : { ...hole, variants: [], box: null };
    await fillOne(other, same, order, mask, { ...control, place: index + 2, count });
  }
}

/** Show how far the server is with a job, while an action waits for it. @param {(id: string) => Promise<void>} action */
export async function watch(file, control, action) {
  const id = crypto.randomUUID?.() ?? `p${Date.now()}`;
  const clock = setInterval(() => report(id, file, control), 300);
  try {
    return await action(id);
  } finally {
    clearInterval(clock);
  }
}

async function fillOne(work, hole, order, mask, control) {
  return watch(work.file, control, async (id) => {
    const { warnings, ...patch } = await requests.fill(work.describe(hole), mask, await fields(order, work), { ...control, id });
    const [x, y] = patch.box.split(",").map(Number);
    const variant = { ...order, ...patch, x, y, image: await createImageBitmap(patch.blob) };
    if (order.seed && (await isRepeated(hole, variant))) {
      still.add(order.engine);
      const next = choose(hole, null);
      if (!next) throw new Refusal("repeated");
      return await fillOne(work, hole, next, mask, control);
    }
    work.place(hole, variant);
    const tight = warnings.find(({ code }) => code === "tight-mask");
    if (!pass(warnings.filter((each) => each !== tight)) && tight) adviseGrowth(tight.grow);
  });
}

/** Say that the mask is too tight, and offer to fill again with more of the slider. */
function adviseGrowth(grow) {
  const text = say("hint.rim", { grow });
  if (grow > $("grow").max) return advise(text);
  advise(text, say("hint.rim.do"), () => {
    $("grow").value = grow;
    $("grow").dispatchEvent(new Event("input"));
    fill(desk.work.variant?.engine);
  });
}

/** What is sent of an order: a seed only to a server that takes one, and where to copy from as a file. */
async function fields({ seed, source, ...order }, work) {
  const more = desk.options.has("seed") ? { seed } : {};
  return { ...order, ...more, ...(source ? { source: await toFile(work.source) } : {}) };
}

/** Whether an engine has given again what it gave before. */
async function isRepeated(hole, { engine, blob }) {
  const one = new Uint8Array(await blob.arrayBuffer());
  for (const other of hole.variants.filter((variant) => variant.engine === engine && variant.blob.size === blob.size)) {
    const two = new Uint8Array(await other.blob.arrayBuffer());
    if (one.every((byte, place) => byte === two[place])) return true;
  }
  return false;
}

async function report(id, file, { place = 1, count = 1, since, running = "state.running" }) {
  const { share } = upload(file);
  if (share > 0 && share < 1) return busy(say("state.sending"), { share });
  const job = await follow(id);
  if (!desk.running || !job) return;
  const which = count > 1 ? say("state.which", { place, count }) : "";
  if (job.state === "waiting") busy(which + (job.ahead ? say("state.waiting", { ahead: job.ahead }) : say("state.next")));
  if (job.state !== "running") return;
  const seconds = Math.round((performance.now() - since) / 1000);
  const left = job.seconds_left && Math.max(1, Math.round(job.seconds_left));
  busy(which + say(left ? "state.left" : running, { seconds, left }), { share: job.share || null });
}

export function cancel() {
  desk.running?.abort();
}

/** Bring the button up to date: the hole that was filled last is filled again. */
export function refreshFill() {
  const again = Boolean(desk.work?.isOutlined);
  $("fill").disabled = !desk.work || Boolean(desk.running);
  $("fill-text").textContent = say(again ? "fill.again" : "fill");
  $("fill-again").disabled = $("keep").disabled = Boolean(desk.running);
}
