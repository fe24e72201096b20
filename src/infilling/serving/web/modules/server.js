/** Requests to the server, and what it says of itself. Fills are in requests.js. */

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

/** Take the token from the page's address, where `infill serve` has put it, and take it out of what is seen and shared. */
export function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  setToken(token);
  history.replaceState(null, "", location.pathname + location.search);
}

function authorize() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Engines and limits. */
export async function info() {
  return (await ask("api/v1/info")).json();
}

/** What the server can do, as its description of itself says: the fields of a fill, and the names of what finds masks. */
export async function readAbilities() {
  const { paths } = await (await ask("openapi.json")).json();
  const fields = (path) => paths[path]?.post.requestBody.content["multipart/form-data"].schema.properties ?? {};
  const finders = paths["/api/v1/mask/{helper}"]?.post.parameters?.find(({ name }) => name === "helper")?.schema.enum ?? [];
  return { options: new Set(Object.keys(fields("/api/v1/fill"))), finders };
}

/** How far a fill is; null when it is not known. */
export async function follow(id) {
  try {
    return await (await ask(`api/v1/jobs/${id}`)).json();
  } catch {
    return null;
  }
}

/** The body of an answer. */
export async function take(answer) {
  try {
    return await answer.blob();
  } catch (error) {
    throw error.name === "AbortError" ? error : new Refusal("gone");
  }
}

/** Send a request. @throws {Refusal} for every answer that is no success */
export async function ask(path, request = {}) {
  const headers = { ...request.headers, ...authorize() };
  let answer;
  try {
    answer = await fetch(path, { ...request, headers });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Refusal("gone");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Refusal(problem.code ?? "internal", problem.detail ?? `${answer.status}`, {
    field: problem.field,
    seconds: Number(answer.headers.get("Retry-After")) || 5,
  });
}

/** Send a file and read the JSON that is answered. `fetch` does not say how much has been sent; this does.
 *  @param {string} path @param {Blob} file @param {(share: number) => void} onShare called with 0 to 1
 */
export function askWithProgress(path, file, onShare) {
  const request = new XMLHttpRequest();
  request.open("POST", path);
  for (const [name, value] of Object.entries(authorize())) request.setRequestHeader(name, value);
  request.responseType = "json";
  request.upload.onprogress = ({ loaded, total }) => onShare(total ? loaded / total : 0);
  return new Promise((resolve, reject) => {
    request.onerror = () => reject(new Refusal("gone"));
    request.onload = () => {
      if (request.status < 300) resolve(request.response);
      else reject(new Refusal(request.response?.code ?? "internal", request.response?.detail));
    };
    request.send(file);
  });
}
