/** Opening pictures and masks: chosen, dropped, pasted, or one of the samples. */

import { changed, desk, onChange, tools, view } from "./desk.js";
import { $, ask, click, round } from "./dom.js";
import { apply } from "./editing.js";
import { fromImage, hasHoles, looksLikeMask } from "./mask.js";
import { busy, complain, explain, quiet, tell } from "./notice.js";
import { write } from "./requests.js";
import { add } from "./shelf.js";
import { say } from "./strings.js";
import { Work } from "./work.js";

const MEGA = 1e6;
/** What is said after opening, where painting is not all that the tool does. */
const HINTS = { select: "select.what", heal: "heal.what", source: "source.what" };
const ADDRESS = /^\s*(https?|ftp|file):\S+\s*$/i;

/** Open files one after the other; the last is shown. Names those of several that cannot be opened. */
async function openFiles(files) {
  if (desk.running) return complain(say("problem.running"));
  const failed = [];
  for (const file of files) if (!(await open(file))) failed.push(file.name);
  if (failed.length && files.length > 1) complain(say("problem.files", { names: failed.join(", ") }));
}

/** Open a file as a picture, or as a mask if it looks like one and the reader says so. Says whether that went well. */
async function open(file, name = file.name || "picture.png") {
  quiet();
  try {
    if (file.size > desk.info.max_bytes) {
      const [size, limit] = [file.size, desk.info.max_bytes].map((bytes) => round(bytes / 2 ** 20));
      return complain(say("problem.bytes", { size, limit })) ?? false;
    }
    busy(say("state.opening"));
    const frame = await decode(await hold(file), name);
    if (frame.width * frame.height > desk.info.max_pixels) {
      const [size, limit] = [frame.width * frame.height, desk.info.max_pixels].map((count) => round(count / MEGA));
      frame.original.close();
      return complain(say("problem.pixels", { size, limit })) ?? false;
    }
    if (desk.work && (/\bmask\b/i.test(name) || looksLikeMask(frame.original))) {
      busy(null);
      const kind = await ask(say("ask.mask", { name }), [["mask", say("ask.mask.mask")], ["picture", say("ask.mask.picture")]]);
      if (kind !== "picture") return kind !== "mask" || useMask(frame.original, "replace");
    }
    await show(new Work(frame, name, !hasHoles(frame.original, file.type)));
    return true;
  } catch (error) {
    explain(error, () => open(file, name));
    return false;
  } finally {
    if ($("tick").hidden) busy(null);
    changed();
  }
}

async function show(work) {
  const { name, width, height } = work;
  await add(work);
  tools.fit();
  if (tools.name === "source") tools.choose("brush"); // it is of no use without a hole
  $("overlay").focus({ preventScroll: true });
  tell(say("done.open", { name, width, height }));
}

/** A file in memory: the one on disk may be gone or another when the picture is saved. */
async function hold(file) {
  return new Blob([await file.arrayBuffer()], { type: file.type });
}

/** A file as pixels; what the browser cannot read, the server may. */
async function decode(file, name) {
  const read = async (readable) => {
    const original = await createImageBitmap(readable);
    return { file, readable, original, width: original.width, height: original.height };
  };
  return read(file).catch(async () => read((await write({ file, name, patches: [] }, { format: "png" })).blob));
}

/** Combine a mask file with the mask that is there, as the menu says. */
async function loadMask(file) {
  quiet();
  try {
    useMask((await decode(file, file.name)).original, $("mode").value);
  } catch (error) {
    explain(error);
  }
}

function useMask(image, mode) {
  const { work } = desk;
  if (image.width !== work.width || image.height !== work.height) {
    const [given, wanted] = [image, work].map(({ width, height }) => `${width} × ${height}`);
    complain(say("problem.mask", { given, wanted }));
    return false;
  }
  apply(fromImage(image, mode));
  return true;
}

async function openSample(name) {
  const answer = await fetch(`static/samples/${name}`).catch(() => null);
  if (!answer?.ok) return complain(say("problem.sample"), () => openSample(name));
  await open(await answer.blob(), name);
}

/** What is dropped or pasted: files, or else text; an address is refused with a word. */
function take(data) {
  document.body.dataset.hand = "pointer";
  if (data.files.length) return openFiles([...data.files]);
  const text = data.getData("text/uri-list") || data.getData("text/plain");
  if (ADDRESS.test(text.split("\n")[0])) complain(say("problem.address"));
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
    take(event.dataTransfer);
  });
  window.addEventListener("paste", (event) => event.target.matches?.("input") || take(event.clipboardData));
}

export function wireOpening() {
  for (const id of ["open", "choose"]) click(id, () => $("file-input").click());
  click("load-mask", () => $("mask-input").click());
  const chosen = (id, action) => $(id).addEventListener("change", ({ target }) => {
    const files = [...target.files];
    target.value = "";
    if (files.length) action(files);
  });
  chosen("file-input", openFiles);
  chosen("mask-input", ([file]) => loadMask(file));
  for (const sample of document.querySelectorAll("[data-sample]")) {
    sample.addEventListener("click", () => openSample(sample.dataset.sample));
  }
  wireDrop();
  onChange(() => {
    $("open").disabled = Boolean(desk.running);
    $("hint").textContent = say(HINTS[tools.name] ?? "hint");
    $("hint").hidden = !desk.work || Boolean(desk.running) || desk.work.steps.length > 0 || view.split !== null;
  });
}
