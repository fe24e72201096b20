/** The page: starts the modules and connects what belongs to none of them. */

import { compare, showOriginal, wireCompare } from "./modules/compare.js";
import { changed, desk, onChange, tools, view } from "./modules/desk.js";
import { $, click, make } from "./modules/dom.js";
import { clear, invert, onPainted, redo, turnVariant, undo, wireEditing } from "./modules/editing.js";
import { listEngines, wireEngines } from "./modules/engines.js";
import { leaveExtend, wireExtend } from "./modules/extend.js";
import { listFinders, wireFinders } from "./modules/finding.js";
import { cancel, fill, refreshFill } from "./modules/filling.js";
import { wireHistory } from "./modules/history.js";
import { LIST, listen } from "./modules/keys.js";
import { leaveMenu, wireMenus } from "./modules/menus.js";
import { explain, onUnauthorized, quiet, wireNotices } from "./modules/notice.js";
import { wireOpening } from "./modules/opening.js";
import { copy, save, wireSaving } from "./modules/saving.js";
import * as server from "./modules/server.js";
import { wireShelf } from "./modules/shelf.js";
import { LANGUAGES, say, speak } from "./modules/strings.js";
import { wireVariants } from "./modules/variants.js";

/** Bring the controls up to date that no other module keeps. */
function refresh() {
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.ariaChecked = String(button.dataset.tool === tools.name);
    button.tabIndex = button.dataset.tool === tools.name ? 0 : -1;
  }
  const { work } = desk;
  document.querySelector("[data-tool='source']").hidden = !desk.options.has("source");
  tools.enabled = Boolean(work) && !desk.running;
  $("undo").disabled = !tools.enabled || !work.canUndo;
  $("redo").disabled = !tools.enabled || !work.canRedo;
  $("size").value = tools.share;
  $("size-text").textContent = `${tools.size} px`;
  $("size").ariaValueText = say("said.size", { size: tools.size });
  refreshFill();
}

function listKeys() {
  const name = (key) => make("kbd", { textContent: say(key) || key });
  const rows = LIST.flatMap(([keys, sentence]) => [
    make("dt", {}, ...keys.map(name)),
    make("dd", { textContent: say(sentence) }),
  ]);
  $("keys").replaceChildren(...rows);
}

async function useLanguage(language) {
  $("language").value = await speak(language);
  listKeys();
  listFinders();
  listEngines();
}

function useTheme(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("infilling.theme", theme);
  $("theme").value = theme;
}

/** Let the picture have the focus where nothing has it: its control has been disabled, or is gone. */
function keepFocus() {
  requestAnimationFrame(() => { // menus are closed then
    const held = document.activeElement;
    const isLost = held === document.body || held.disabled || !held.checkVisibility();
    if (isLost && desk.work && !document.querySelector("dialog[open]")) $("overlay").focus({ preventScroll: true });
  });
}

/** Ask the server what it offers. */
async function learn() {
  try {
    const [info, abilities] = await Promise.all([server.info(), server.readAbilities()]);
    Object.assign(desk, abilities, { info });
    desk.engine ||= info.default;
    listFinders();
    listEngines();
  } catch (error) {
    explain(error, learn);
  }
}

function askForToken(retry) {
  $("token-dialog").showModal();
  $("token-form").onsubmit = async () => {
    server.setToken($("token").value);
    await learn();
    if (retry !== learn) retry?.();
  };
}

/** Leave what is open, one thing at a time. */
function escape() {
  if (leaveMenu() || leaveExtend() || tools.abandon()) return;
  if (desk.running) cancel();
  else if (view.split !== null) compare(false);
  else quiet();
}

function showKeys() {
  const dialog = $("keys-dialog");
  if (dialog.open) return;
  dialog.showModal();
  dialog.scrollTop = 0; // its button, at the end, has the focus
}

const chooseFile = () => $("open").disabled || $("file-input").click();

/** Arrow keys go round in the group of tools, as they do in every group of radio buttons. */
function chooseByArrow(event) {
  const turn = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!turn) return;
  const buttons = [...document.querySelectorAll("[data-tool]")].filter((button) => button.checkVisibility());
  const next = buttons.at((buttons.indexOf(event.target) + turn) % buttons.length);
  tools.choose(next.dataset.tool);
  next.focus();
  event.preventDefault();
}

function wireTools() {
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.addEventListener("click", () => tools.choose(button.dataset.tool));
  }
  $("tool").addEventListener("keydown", chooseByArrow);
  $("size").addEventListener("input", ({ target }) => tools.setShare(Number(target.value)));
  click("fill", fill);
  click("cancel", cancel);
}

function wireView() {
  click("zoom-in", () => view.zoom(1.25));
  click("zoom-out", () => view.zoom(0.8));
  click("zoom-fit", () => view.fit());
  click("zoom-full", () => view.zoom(1 / view.scale / devicePixelRatio));
  const place = view.onchange;
  view.onchange = () => {
    place();
    $("zoom-full").textContent = `${Math.round(100 * view.scale * devicePixelRatio)} %`;
    document.body.dataset.zoomed = String(!view.fitted);
    const [above, below] = view.margins;
    $("canvases").style.setProperty("--above", `${Math.max(above, $("shelf").offsetHeight)}px`);
    $("canvases").style.setProperty("--below", `${below}px`);
  };
}

function wireSettings() {
  $("language").replaceChildren(
    ...Object.entries(LANGUAGES).map(([value, textContent]) => make("option", { value, textContent, lang: value })),
  );
  $("language").addEventListener("change", ({ target }) => useLanguage(target.value));
  $("theme").addEventListener("change", ({ target }) => useTheme(target.value));
  click("help", showKeys);
  document.addEventListener("pointerdown", () => (document.body.dataset.hand = "pointer"), true);
}

for (const wire of [wireNotices, wireMenus, wireTools, wireView, wireSettings, wireEditing, wireCompare]) wire();
for (const wire of [wireOpening, wireSaving, wireShelf, wireHistory, wireVariants, wireExtend, wireFinders]) wire();
wireEngines(leaveMenu);
onUnauthorized(askForToken);
onPainted(fill);
onChange(refresh);
onChange(keepFocus);
server.takeToken();
useTheme(localStorage.getItem("infilling.theme") ?? "auto");
await useLanguage();
const start = () => fill();
listen(tools, view, { fill: start, undo, redo, save, copy, escape, showOriginal, compare: () => compare(), invert, clear, turnVariant, keys: showKeys, open: chooseFile });
await learn();
changed();
navigator.serviceWorker?.register("sw.js").catch(() => {}); // without it the page only needs its server to open
document.documentElement.dataset.ready = "";
