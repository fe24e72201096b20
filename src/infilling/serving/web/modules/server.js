/** The server: what it offers, and fills. Nothing else speaks to it, but for the page's own files. */

const TOKEN = "infilling.token";

/** An answer that is no success. `code` is the server's; "gone" means that there was no answer at all. */
export class Refusal extends Error {
  constructor(code, detail = "", more = {}) {
    super(detail || code);
    this.code = code;
    this.detail = detail;
    Object.assign(this, more);
  }
}

export const setToken = (token) => sessionStorage.setItem(TOKEN, token);

/** Engines and limits. */
export async function info() {
  return (await ask("api/v1/info")).json();
}

/** The names of the fields that a fill takes, as the server's description of itself lists them. */
export async function readOptions() {
  const { paths } = await (await ask("openapi.json")).json();
  return new Set(Object.keys(paths["/api/v1/fill"].post.requestBody.content["multipart/form-data"].schema.properties));
}

/** Fill a hole: the box round it, and the pixels of that box.
 *  @param {{file: Blob, name: string, patches: {blob: Blob, box: string}[]}} picture
 *  @param {Blob} mask
 *  @param {Record<string, string | number>} options fields of the request
 *  @param {{signal: AbortSignal, id: string}} control
 */
export async function fill(picture, mask, options, control) {
  const body = describe(picture);
  body.append("mask", mask, "mask.png");
  for (const [name, value] of Object.entries(options)) body.append(name, value);
  body.append("patch_only", "true");
  const answer = await ask("api/v1/fill", { method: "POST", body, signal: control.signal, headers: { "X-Job-Id": control.id } });
  return { blob: await take(answer), box: answer.headers.get("X-Infilling-Box") };
}

/** The whole file with all that was filled, in its own format or another. */
export async function write(picture, { format = "", quality = null } = {}) {
  const body = describe(picture);
  if (format) body.append("format", format);
  if (quality) body.append("quality", quality);
  return take(await ask("api/v1/fill", { method: "POST", body }));
}

/** How far a fill is; null when it is not known. */
export async function follow(id) {
  try {
    return await (await ask(`api/v1/jobs/${id}`)).json();
  } catch {
    return null;
  }
}

function describe({ file, name, patches }) {
  const body = new FormData();
  body.append("image", file, name);
  for (const { blob, box } of patches) {
    body.append("patch", blob, "patch.png");
    body.append("patch_box", box);
  }
  return body;
}

async function take(answer) {
  try {
    return await answer.blob();
  } catch (error) {
    throw error.name === "AbortError" ? error : new Refusal("gone");
  }
}

async function ask(path, request = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...request.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  let answer;
  try {
    answer = await fetch(path, { ...request, headers });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Refusal("gone");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Refusal(told.code ?? "internal", told.detail ?? `${answer.status}`, {
    field: told.field,
    seconds: Number(answer.headers.get("Retry-After")) || 5,
  });
}
