/** The pictures that are open: a strip to choose from, when there are several. */

import { changed, desk, onChange, view } from "./desk.js";
import { $, ask, make } from "./dom.js";
import { complain, quiet } from "./notice.js";
import { say } from "./strings.js";

/** The picture that was chosen last: reading its pixels takes a moment. @type {import("./work.js").Work | null} */
let wanted = null;

/** Put a picture on the shelf and show it. */
export async function add(work) {
  desk.works.push(work);
  await choose(work);
}

/** Work on a picture; the others give their memory back. */
export async function choose(work) {
  if (desk.running) return complain(say("problem.running"));
  const before = desk.work;
  wanted = work;
  if (work.isParked) await work.wake();
  if (wanted !== work) return work.park(); // another one has been chosen meanwhile
  quiet();
  desk.work = work;
  document.body.dataset.state = "picture";
  view.split = null;
  changed(); // the shelf takes room from the picture
  view.open(work);
  if (before && before !== work) before.park();
  changed();
}

/** Take a picture off the shelf; asks first if something of it would be lost. */
export async function close(work) {
  if (desk.running) return complain(say("problem.running"));
  if ((work.isUnsaved || work.hasUnfilled) && !(await confirmClose(work))) return;
  const place = desk.works.indexOf(work);
  desk.works.splice(place, 1);
  if (work === desk.work) {
    const next = desk.works[Math.min(place, desk.works.length - 1)] ?? null;
    if (next) return choose(next);
    leave();
  }
  work.park();
  changed();
  if (desk.work) view.fit();
}

async function confirmClose(work) {
  const question = say(work.isUnsaved ? "ask.unsaved" : "ask.unfilled", { name: work.name });
  return (await ask(question, [["", say("ask.back")], ["close", say("ask.close")]])) === "close";
}

/** Show the page as it is without a picture. */
function leave() {
  desk.work = view.work = null;
  document.body.dataset.state = "empty";
}

function refresh() {
  const { work, works } = desk;
  $("file").title = work?.name ?? "";
  $("file").textContent = work ? `${work.name} · ${work.width} × ${work.height}` : "";
  document.title = work ? `${work.name} – infilling` : "infilling";
  $("shelf").hidden = works.length < 2;
  document.querySelector(".zoom").classList.toggle("lower", works.length > 1);
  if (works.length < 2) return;
  const all = make("input", { type: "checkbox", id: "shared", checked: desk.shared });
  all.addEventListener("change", () => (desk.shared = all.checked));
  const label = make("label", { className: "check" }, all, make("span", { textContent: say("shared") }));
  label.title = say("shared.what");
  const inside = $("shelf").contains(document.activeElement);
  $("shelf").replaceChildren(make("div", { className: "strip" }, ...works.map(makeItem)), label);
  const shown = $("shelf").querySelector("[aria-current='true']");
  shown?.scrollIntoView({ block: "nearest", inline: "center" });
  if (inside) shown?.focus();
}

function makeItem(work) {
  const picture = make("canvas", { width: work.thumb.width, height: work.thumb.height });
  picture.getContext("2d").drawImage(work.thumb, 0, 0);
  const button = make("button", { className: "thumb", title: work.name }, picture);
  button.ariaLabel = say("shelf.show", { name: work.name });
  button.ariaCurrent = String(work === desk.work);
  button.addEventListener("click", () => work === desk.work || choose(work));
  const shut = make("button", { className: "shut", textContent: "×", title: say("shelf.close", { name: work.name }) });
  shut.ariaLabel = shut.title;
  shut.addEventListener("click", () => close(work));
  return make("div", { className: "item-of-shelf" }, button, shut);
}

export function wireShelf() {
  onChange(refresh);
  window.addEventListener("beforeunload", (event) => {
    if (desk.works.some((work) => work.isUnsaved || work.hasUnfilled)) event.preventDefault();
  });
}
