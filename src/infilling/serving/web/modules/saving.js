/** Taking the picture away: save, save as another format, copy, share. */

import { changed, desk, onChange } from "./desk.js";
import { $, click, download } from "./dom.js";
import { busy, complain, explain, pass, quiet, tell } from "./notice.js";
import * as requests from "./requests.js";
import { say } from "./strings.js";

const ENDINGS = { png: [".png"], jpeg: [".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"], webp: [".webp"], tiff: [".tif", ".tiff"], bmp: [".bmp"], avif: [".avif"] };
const LOSSY = ["jpeg", "webp"];

/** The name of what is saved: with the ending of the file, where that is one of the format's. */
function nameFile({ name }, { type }) {
  const [, stem, ending = ""] = /^(.*?)(\.[^.]*)?$/.exec(name);
  const fitting = ENDINGS[type.replace("image/", "")] ?? [ending];
  return `${stem}.filled${fitting.includes(ending.toLowerCase()) ? ending : fitting[0]}`;
}

/** The file with all that was filled, as the menu says. */
async function write(work) {
  const chosen = $("format").value;
  const quality = LOSSY.includes(chosen) ? $("quality").value : null;
  const { blob, warnings } = await requests.write(work.describe(), { format: chosen || work.format, quality });
  pass(warnings);
  return new File([blob], nameFile(work, blob), { type: blob.type });
}

/** Do something with the files that are written, if any of the pictures has been changed. */
async function take(action, retry, works = [desk.work]) {
  const { work } = desk;
  if (!work || desk.running) return;
  quiet();
  if (!works.some(({ isTouched }) => isTouched)) return complain(say("problem.untouched"));
  try {
    busy(say("state.saving"));
    await action(work);
  } catch (error) {
    if (error.name === "AbortError") busy(null);
    else explain(error, retry);
  }
  changed();
}

/** Write a file and hand it to the browser. @returns {Promise<string>} its name */
async function keep(work) {
  const file = await write(work);
  download(file, file.name);
  work.noteSaved();
  return file.name;
}

export const save = () => take(async (work) => tell(say("done.save", { name: await keep(work) }), true), save);

/** Save each picture of which something is not saved. */
const saveAll = () => take(async () => {
  const unsaved = listUnsaved();
  const count = unsaved.length;
  for (const [index, work] of unsaved.entries()) {
    busy(say("state.which", { place: index + 1, count }) + say("state.saving"));
    await keep(work);
  }
  tell(say("done.save.all", { count }), true);
}, saveAll, desk.works);

const listUnsaved = () => desk.works.filter(({ isUnsaved }) => isUnsaved);

const share = () => take(async (work) => {
  const file = await write(work);
  busy(null);
  await navigator.share({ files: [file], title: file.name });
  work.noteSaved();
}, share);

export async function copy() {
  const { work } = desk;
  if (!work) return;
  quiet();
  if (!work.isTouched) return complain(say("problem.untouched"));
  try {
    const picture = new Promise((resolve) => work.base.toBlob(resolve, "image/png"));
    await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
    tell(say("done.copy"), true);
  } catch {
    complain(say("problem.copy"));
  }
}

/** Whether this browser can hand pictures to other programs. */
function canShare() {
  const file = new File([new Blob(["x"])], "picture.png", { type: "image/png" });
  return Boolean(navigator.canShare?.({ files: [file] }));
}

export function wireSaving() {
  click("save", save);
  click("save-as", save);
  click("save-all", saveAll);
  click("copy", copy);
  click("copy-item", copy);
  click("share", share);
  $("share").hidden = !canShare();
  $("format").addEventListener("change", ({ target }) => ($("quality-row").hidden = !LOSSY.includes(target.value)));
  $("quality").addEventListener("input", ({ target }) => ($("quality-text").textContent = target.value));
  onChange(() => {
    const off = !desk.work?.isTouched || Boolean(desk.running);
    for (const id of ["save", "save-as", "copy", "copy-item", "share"]) $(id).disabled = off;
    $("save-all").hidden = desk.works.length < 2;
    $("save-all").disabled = !listUnsaved().length || Boolean(desk.running);
    $("save-icon").setAttribute("href", desk.work?.isSaved ? "#i-check" : "#i-save");
  });
}
