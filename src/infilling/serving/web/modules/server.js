/** The server: what it offers, and fills. Nothing else of the page speaks to the network. */

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

/** A new picture of the holes: the box that was filled, and its pixels.
 *  @param {{file: Blob, name: string, patches: {blob: Blob, box: string}[]}} work
 *  @param {Blob} mask
 *  @param {{engine: string, grow: number, feather: number}} options
 *  @param {{signal: AbortSignal, id: string}} control
 */
export async function fill(work, mask, options, control) {
  const body = describe(work);
  body.append("mask", mask, "mask.png");
  for (const [name, value] of Object.entries(options)) body.append(name, value);
  body.append("patch_only", "true");
  const answer = await ask("api/v1/fill", { method: "POST", body, signal: control.signal, headers: { "X-Job-Id": control.id } });
  return { blob: await take(answer), box: answer.headers.get("X-Infilling-Box") };
}

/** The whole file with all that was filled, as it came or in another format. */
export async function write(work, format) {
  const body = describe(work);
  if (format) body.append("format", format);
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
