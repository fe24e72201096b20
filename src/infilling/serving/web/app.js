/** The page: what each control does. Painting is in modules/tools.js, the network in modules/server.js. */

import { LIST, listen } from "./modules/keys.js";
import { draw, fromImage, toFile } from "./modules/mask.js";
import * as server from "./modules/server.js";
import { knows, say, speak } from "./modules/strings.js";
import { Tools } from "./modules/tools.js";
import { View } from "./modules/view.js";
import { Work } from "./modules/work.js";

const $ = (id) => document.getElementById(id);
const MEGA = 1e6;
const view = new View($("picture"), $("overlay"));
const tools = new Tools(view, $("cursor"), { commit, changed: refresh });
/** @type {Work | null} */ let work = null;
/** @type {AbortController | null} */ let running = null;
let limits = { max_bytes: Infinity, max_pixels: Infinity, engines: [] };
let again = null;
let engine = "";

// -- opening -------------------------------------------------------------------------------------------------

async function open(file, name = file.name || "picture.png") {
  if (running || (work?.isUnsaved && !confirm(say("confirm.replace")))) return;
  quiet();
  try {
    if (file.size > limits.max_bytes) {
      const [size, limit] = [file.size, limits.max_bytes].map((bytes) => round(bytes / 2 ** 20));
      return complain(say("problem.bytes", { size, limit }));
    }
    busy(say("state.opening"));
    const image = await decode(file, name);
    if (image.width * image.height > limits.max_pixels) {
      const [size, limit] = [image.width * image.height, limits.max_pixels].map((count) => round(count / MEGA));
      image.close();
      return complain(say("problem.pixels", { size, limit }));
    }
    work?.close();
    work = new Work(file, name, image);
    document.body.dataset.state = "picture";
    $("file").textContent = `${name} · ${image.width} × ${image.height}`;
    compare(false);
    view.open(work);
    $("overlay").focus({ preventScroll: true });
    tell(say("done.open", { name, width: image.width, height: image.height }));
  } catch (error) {
    explain(error, () => open(file, name));
  } finally {
    busy(null);
    refresh();
  }
}

/** A file as pixels; what the browser cannot read, the server may. */
async function decode(file, name) {
  try {
    return await createImageBitmap(file);
  } catch {
    return createImageBitmap(await server.write({ file, name, patches: [] }, "png"));
  }
}

async function loadMask(file) {
  quiet();
  try {
    const image = await decode(file, file.name);
    if (image.width !== work.width || image.height !== work.height) {
      const [given, wanted] = [image, work].map(({ width, height }) => `${width} × ${height}`);
      return complain(say("problem.mask", { given, wanted }));
    }
    apply(fromImage(image));
  } catch (error) {
    explain(error);
  }
}

// -- the mask ------------------------------------------------------------------------------------------------

/** An operation that is drawn already; null asks for the mask as it was before. */
function commit(operation) {
  if (operation) work.note(operation);
  else work.redrawMask();
  quiet();
  refresh();
}

function apply(operation) {
  if (!work || running) return;
  draw(work.mask.getContext("2d"), operation);
  commit(operation);
  view.redrawMask();
}

function undo() {
  if (running || !work?.canUndo) return;
  work.undo();
  quiet();
  tell(say("done.undo"));
  view.redraw();
  refresh();
}

function redo() {
  if (running || !work?.canRedo) return;
  work.redo();
  tell(say("done.redo"));
  view.redraw();
  refresh();
}

// -- filling -------------------------------------------------------------------------------------------------

async function fill() {
  if (!work || running) return;
  quiet();
  if (!work.hasHole) return complain(say("problem.nothing"));
  compare(false);
  running = new AbortController();
  const { signal } = running;
  const id = crypto.randomUUID?.() ?? `p${Date.now()}`;
  const since = performance.now();
  busy(say("state.sending"));
  refresh();
  const clock = setInterval(() => report(id, since), 300);
  try {
    const mask = await toFile(work.mask);
    const options = { engine, grow: $("grow").value, feather: $("feather").value };
    const patch = await server.fill(work, mask, options, { signal, id });
    await work.place(patch);
    view.redraw();
    tell(say("done.fill", { seconds: round((performance.now() - since) / 1000) }));
  } catch (error) {
    if (error.name === "AbortError") tell(say("done.cancel"));
    else explain(error, fill);
  } finally {
    clearInterval(clock);
    running = null;
    busy(null);
    refresh();
    view.redraw();
  }
}

async function report(id, since) {
  const job = await server.follow(id);
  if (!running || !job) return;
  if (job.state === "waiting") busy(job.ahead ? say("state.waiting", { ahead: job.ahead }) : say("state.next"));
  if (job.state === "running") busy(say("state.running", { seconds: Math.round((performance.now() - since) / 1000) }));
}

function cancel() {
  running?.abort();
}

// -- taking away ---------------------------------------------------------------------------------------------

async function save() {
  if (!work || running) return;
  quiet();
  const [, stem, ending] = /^(.*?)(\.[^.]*)?$/.exec(work.name);
  const name = `${stem}.filled${ending ?? ".png"}`;
  try {
    busy(say("state.saving"));
    const blob = work.patches.length ? await server.write(work) : work.file;
    download(blob, name);
    work.saved = work.done;
    tell(say("done.save", { name }));
  } catch (error) {
    explain(error, save);
  } finally {
    busy(null);
  }
}

async function saveMask() {
  download(await toFile(work.mask), `${work.name.replace(/\.[^.]*$/, "")}.mask.png`);
}

function download(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function copy() {
  if (!work) return;
  quiet();
  try {
    const picture = new Promise((resolve) => work.base.toBlob(resolve, "image/png"));
    await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
    tell(say("done.copy"), true);
  } catch {
    complain(say("problem.copy"));
  }
}

// -- looking -------------------------------------------------------------------------------------------------

function compare(wanted = view.split === null) {
  view.split = wanted ? 0.5 : null;
  $("compare").ariaPressed = String(wanted);
  $("split").hidden = !wanted;
  if (wanted) slide(0.5);
  if (view.work) view.redraw();
}

function slide(share) {
  view.split = Math.min(1, Math.max(0, share));
  $("split").style.left = `${100 * view.split}%`;
  $("split").ariaValueNow = String(Math.round(100 * view.split));
  view.redraw();
}

function showOriginal(wanted) {
  if (!work || view.original === wanted) return;
  view.original = wanted;
  $("original").hidden = !wanted;
  view.redraw();
}

// -- saying --------------------------------------------------------------------------------------------------

/** Say something to those who do not see the page; `seen` shows it for a moment too. */
function tell(text, seen = false) {
  $("live").textContent = text;
  if (!seen) return;
  busy(text, false);
  setTimeout(() => running || busy(null), 1500);
}

/** Show what is being done, or for a moment what is done; null shows nothing. */
function busy(text, going = true) {
  $("busy").hidden = text === null;
  $("spinner").hidden = !going;
  $("cancel").hidden = !running;
  if (text !== null) $("busy-text").textContent = text;
}

function quiet() {
  $("note").hidden = true;
  $("welcome-problem").textContent = "";
  again = null;
}

/** Say what is wrong, next to what caused it. */
function complain(text, retry = null) {
  again = retry;
  busy(null);
  $(work ? "note-text" : "welcome-problem").textContent = text;
  $("note").hidden = !work;
  $("note-again").hidden = !retry;
}

const SENTENCES = {
  unreadable: "problem.unreadable",
  "unsupported-picture": "problem.unsupported",
  busy: "problem.busy",
  closing: "problem.closing",
  timeout: "problem.timeout",
  gone: "problem.gone",
};
const WORTH_TRYING = new Set(["busy", "closing", "timeout", "gone", "internal"]);

function explain(error, retry = null) {
  if (error.code === "unauthorized") return askForToken(retry);
  const all = error.code === "invalid" && /whole picture/.test(error.detail);
  const nothing = error.code === "invalid" && /marks nothing/.test(error.detail); // painted beside the picture, or erased
  const name = all ? "problem.all" : nothing ? "problem.nothing" : (SENTENCES[error.code] ?? "problem.other");
  const text = say(name, { seconds: error.seconds, detail: error.detail || error.message });
  complain(text, WORTH_TRYING.has(error.code) ? retry : null);
}

function askForToken(retry) {
  $("token-dialog").showModal();
  $("token-form").onsubmit = async () => {
    server.setToken($("token").value);
    await learn();
    retry?.();
  };
}

const round = (value) => (value < 10 ? Math.round(value * 10) / 10 : Math.round(value));

// -- controls ------------------------------------------------------------------------------------------------

/** Bring every control up to date with the state. */
function refresh() {
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.ariaChecked = String(button.dataset.tool === tools.name);
    button.tabIndex = button.dataset.tool === tools.name ? 0 : -1;
  }
  const free = Boolean(work) && !running;
  tools.enabled = free;
  $("undo").disabled = !free || !work.canUndo;
  $("redo").disabled = !free || !work.canRedo;
  $("fill").disabled = !free;
  $("save").disabled = $("open").disabled = Boolean(running);
  $("size").value = tools.share;
  $("size-text").textContent = `${tools.size} px`;
  $("size").ariaValueText = say("said.size", { size: tools.size });
}

/** The engines, each with one line about it. */
function listEngines() {
  const make = (tag, values) => Object.assign(document.createElement(tag), values);
  const rows = limits.engines.map(({ name, summary }) => {
    const row = make("label", { className: "choice" });
    const about = knows(`engine.${name}`) ? say(`engine.${name}`) : summary;
    const radio = make("input", { type: "radio", name: "engine", value: name, checked: name === engine });
    row.append(radio, make("b", { textContent: name }), make("span", { className: "quiet", textContent: about }));
    return row;
  });
  $("engine-list").replaceChildren(...rows);
  $("engine").textContent = engine;
}

function chooseEngine(name) {
  $("engine").textContent = engine = name;
}

function listKeys() {
  $("keys").replaceChildren(
    ...LIST.flatMap(([keys, name]) => {
      const term = document.createElement("dt");
      term.append(...keys.map((key) => Object.assign(document.createElement("kbd"), { textContent: say(key) || key })));
      return [term, Object.assign(document.createElement("dd"), { textContent: say(name) })];
    }),
  );
}

async function useLanguage(language) {
  $("language").value = await speak(language);
  listKeys();
  listEngines();
  refresh();
}

function useTheme(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("infilling.theme", theme);
  $("theme").value = theme;
}

async function learn() {
  try {
    limits = await server.info();
    engine ||= limits.default;
    listEngines();
  } catch (error) {
    explain(error, learn);
  }
}

const closeMenus = (but = null) => document.querySelectorAll("details.menu[open]").forEach((menu) => menu !== but && (menu.open = false));

function wire() {
  const click = (id, action) => $(id).addEventListener("click", () => action());
  for (const id of ["open", "choose"]) click(id, () => $("file-input").click());
  for (const [id, action] of Object.entries({ undo, redo, fill, cancel, save, copy, compare: () => compare() })) click(id, action);
  click("invert", () => apply({ kind: "invert" }));
  click("clear", () => apply({ kind: "clear" }));
  click("load-mask", () => $("mask-input").click());
  click("save-mask", saveMask);
  click("zoom-in", () => view.zoom(1.25));
  click("zoom-out", () => view.zoom(0.8));
  click("zoom-fit", () => view.fit());
  click("zoom-full", () => view.zoom(1 / view.scale / devicePixelRatio));
  click("note-close", quiet);
  click("note-again", () => again?.());
  $("engine-list").addEventListener("change", ({ target }) => chooseEngine(target.value));
  $("engine-list").addEventListener("click", ({ detail }) => detail && closeMenus()); // 0: an arrow key has moved the choice
  $("engine-list").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    escape();
    event.preventDefault(); // or the button, which has the focus now, opens it again
  });
  for (const item of document.querySelectorAll(".item")) item.addEventListener("click", () => closeMenus());
  $("file-input").addEventListener("change", ({ target }) => { if (target.files[0]) open(target.files[0]); target.value = ""; });
  $("mask-input").addEventListener("change", ({ target }) => { if (target.files[0]) loadMask(target.files[0]); target.value = ""; });
  $("size").addEventListener("input", ({ target }) => { tools.share = Number(target.value); tools.resize(0); });
  for (const id of ["grow", "feather"]) $(id).addEventListener("input", ({ target }) => { $(`${id}-text`).textContent = `${target.value} px`; });
  $("language").addEventListener("change", ({ target }) => useLanguage(target.value));
  $("theme").addEventListener("change", ({ target }) => useTheme(target.value));
  for (const button of document.querySelectorAll("[data-tool]")) button.addEventListener("click", () => tools.choose(button.dataset.tool));
  $("tool").addEventListener("keydown", chooseByArrow);
  for (const sample of document.querySelectorAll("[data-sample]")) sample.addEventListener("click", () => openSample(sample.dataset.sample));
  for (const menu of document.querySelectorAll("details.menu")) menu.addEventListener("toggle", () => menu.open && closeMenus(menu));
  document.addEventListener("pointerdown", ({ target }) => target.closest("details.menu") || closeMenus());
  wireSplit();
  wireDrop();
  window.addEventListener("beforeunload", (event) => work?.isUnsaved && event.preventDefault());
}

/** Arrow keys go round in the group of tools, as they do in every group of radio buttons. */
function chooseByArrow(event) {
  const turn = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!turn) return;
  const buttons = [...document.querySelectorAll("[data-tool]")];
  const next = buttons.at((buttons.indexOf(event.target) + turn) % buttons.length);
  tools.choose(next.dataset.tool);
  next.focus();
  event.preventDefault();
}

async function openSample(name) {
  try {
    const answer = await fetch(`static/samples/${name}`);
    await open(await answer.blob(), name);
  } catch {
    explain(new server.Refusal("gone"), () => openSample(name));
  }
}

function wireSplit() {
  const split = $("split");
  const follow = (event) => slide((event.clientX - $("stage").getBoundingClientRect().left) / $("stage").clientWidth);
  split.addEventListener("pointerdown", (event) => split.setPointerCapture(event.pointerId));
  split.addEventListener("pointermove", (event) => split.hasPointerCapture(event.pointerId) && follow(event));
  split.addEventListener("keydown", (event) => {
    const turn = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
    if (!turn) return;
    slide(view.split + turn);
    event.preventDefault();
  });
}

function wireDrop() {
  let depth = 0;
  const veil = (shown) => ($("veil").hidden = !shown);
  window.addEventListener("dragenter", () => veil(++depth > 0));
  window.addEventListener("dragleave", () => veil(--depth > 0));
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    veil((depth = 0) > 0);
    if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  });
  window.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files[0]) open(clipboardData.files[0]);
  });
}

function escape() {
  const menu = document.querySelector("details.menu[open]");
  if (menu) {
    closeMenus();
    menu.querySelector("summary").focus();
  } else if (!tools.abandon()) {
    if (running) cancel();
    else if (view.split !== null) compare(false);
    else quiet();
  }
}

const place = view.onchange;
view.onchange = () => {
  place();
  $("zoom-full").textContent = `${Math.round(100 * view.scale * devicePixelRatio)} %`;
  document.body.dataset.zoomed = String(!view.fitted);
  [$("split").style.top, $("split").style.bottom] = view.margins.map((margin) => `${margin}px`);
};
wire();
useTheme(localStorage.getItem("infilling.theme") ?? "auto");
await useLanguage();
listen(tools, view, {
  fill, undo, redo, save, copy, escape, showOriginal,
  compare: () => compare(),
  invert: () => apply({ kind: "invert" }),
  clear: () => apply({ kind: "clear" }),
});
await learn();
document.documentElement.dataset.ready = "";
