/** Requests about a picture: fill a hole of it, find something in it, write all of it. */

import { take } from "./server.js";
import { noteUpload, send } from "./uploads.js";

const PATH = "api/v1/fill";

/** Fill a hole: the box round it, and the pixels of that box.
 *  @param {{file: Blob, name: string, patches: {blob: Blob, box: string}[]}} picture
 *  @param {Blob} mask
 *  @param {Record<string, string | number>} options fields of the request
 *  @param {{signal: AbortSignal, id: string}} control
 */
export async function fill(picture, mask, options, { signal, id }) {
  const fields = { ...options, mask, patch_only: "true" };
  const answer = await send(PATH, picture, fields, { signal, headers: { "X-Job-Id": id } });
  const blob = await take(answer);
  noteUpload(blob, answer.headers.get("X-Infilling-Patch-Id"));
  return { blob, box: answer.headers.get("X-Infilling-Box"), warnings: readWarnings(answer) };
}

/** Put the picture on a larger canvas, and continue it there: all of it, as PNG, with what belongs to it.
 *  @param {{file: Blob, name: string, patches: {blob: Blob, box: string}[]}} picture
 *  @param {Record<string, string | number>} options fields of the request
 *  @param {{signal: AbortSignal, id: string}} control
 */
export async function extend(picture, options, { signal, id }) {
  const fields = { ...options, format: "png" };
  const answer = await send("api/v1/extend", picture, fields, { signal, headers: { "X-Job-Id": id } });
  return { blob: await take(answer), warnings: readWarnings(answer) };
}

/** Ask the server to find something: the box round it, and the mask in that box.
 *  @param {string} name one of the finders that it lists
 *  @param {Record<string, string | number>} fields where to look
 *  @param {{signal?: AbortSignal, id?: string}} control
 */
export async function find(name, picture, fields, { signal, id } = {}) {
  const request = { signal, headers: id ? { "X-Job-Id": id } : {} };
  const answer = await send(`api/v1/mask/${name}`, picture, { ...fields, box_only: "true" }, request);
  return { blob: await take(answer), box: answer.headers.get("X-Infilling-Box") };
}

/** What the server has to say about an answer: its sentence, and where there are words of ours, their code and numbers.
 *  @typedef {{text: string, code?: string, grow?: number}} Warning
 *  @returns {Warning[]} */
function readWarnings({ headers }) {
  const [texts, advice] = ["Warnings", "Advice"].map((name) => JSON.parse(headers.get(`X-Infilling-${name}`) ?? "[]"));
  return texts.map((text, place) => ({ text, ...advice[place] }));
}

/** The whole file with all that was filled, in its own format or another. @returns {Promise<{blob: Blob, warnings: Warning[]}>} */
export async function write(picture, { format = "", quality = null } = {}) {
  const fields = { ...(format ? { format } : {}), ...(quality ? { quality } : {}) };
  const answer = await send(PATH, picture, fields);
  return { blob: await take(answer), warnings: readWarnings(answer) };
}
