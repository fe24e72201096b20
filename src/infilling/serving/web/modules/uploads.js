/** Files that the server keeps for a while: each is sent once, and named by its id afterwards. */

import { ask, askWithProgress } from "./server.js";

const PATH = "api/v1/pictures";

/** @typedef {{id: Promise<string | null>, share: number}} Upload `id` is null where the server does not keep the file */

/** @type {WeakMap<Blob, Upload>} */ let uploads = new WeakMap();
/** Whether the server keeps files at all; not known before the first one. */
let isOffered = true;

/** Send a file, unless that has been done. @param {Blob} blob @returns {Upload} */
export function upload(blob) {
  if (!uploads.has(blob)) uploads.set(blob, start(blob));
  return uploads.get(blob);
}

/** Note that the server has a file already. */
export function noteUpload(blob, id) {
  if (id) uploads.set(blob, { id: Promise.resolve(id), share: 1 });
}

/** Forget all ids: the server has been started again, or the files have expired. */
function forgetUploads() {
  uploads = new WeakMap();
}

function start(blob) {
  const upload = { id: Promise.resolve(null), share: 0 };
  if (isOffered) upload.id = post(blob, upload);
  return upload;
}

async function post(blob, upload) {
  try {
    const answer = await askWithProgress(PATH, blob, (share) => (upload.share = share));
    return answer.id;
  } catch (error) {
    uploads.delete(blob); // the next fill tries again
    if (["not-found", "method-not-allowed"].includes(error.code)) isOffered = false;
    return null;
  }
}

/** The form that says which picture is meant and what has been filled: by ids where the server keeps files, else whole.
 *  @param {{file: Blob, name: string, patches: {blob: Blob, box: string}[]}} picture
 */
async function describe({ file, name, patches }) {
  const body = new FormData();
  const [image, ...kept] = await Promise.all([file, ...patches.map(({ blob }) => blob)].map((blob) => upload(blob).id));
  const byId = image && kept.every(Boolean);
  if (byId) body.append("image_id", image);
  else body.append("image", file, name);
  for (const [place, { blob, box }] of patches.entries()) {
    if (byId) body.append("patch_id", kept[place]);
    else body.append("patch", blob, "patch.png");
    body.append("patch_box", box);
  }
  return body;
}

/** Send a form about a picture. If the server has lost a file that is named in it, all are sent again.
 *  @param {string} path @param {{file: Blob, name: string, patches: {blob: Blob, box: string}[]}} picture
 *  @param {Record<string, string | number | Blob | string[]>} fields a list is sent as a repeated field @param {RequestInit} request
 */
export async function send(path, picture, fields, request = {}) {
  const make = async () => {
    const body = await Promise.race([describe(picture), whenAborted(request.signal)]);
    for (const [name, value] of Object.entries(fields)) for (const each of [value].flat()) body.append(name, each);
    return { ...request, method: "POST", body };
  };
  try {
    return await ask(path, await make());
  } catch (error) {
    if (error.code !== "unknown-picture") throw error;
    forgetUploads();
    return ask(path, await make());
  }
}

/** A promise that fails when a request is cancelled. */
function whenAborted(signal) {
  return new Promise((_, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
