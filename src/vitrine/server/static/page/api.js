// The server's HTTP API, as calls. Every refusal is a Problem with the server's own sentence.

export class Problem extends Error {
  /** status: of HTTP; 0 where the server could not be reached. code: for programs. after: seconds until it may be tried
   * again, null for never. */
  constructor(status, code, sentence, after = null) {
    super(sentence);
    this.status = status;
    this.code = code;
    this.after = after;
  }
}

const listeners = new Set();

/** Be told whether the server can be reached, whenever that changes or is tried. */
export function onReach(listener) {
  listeners.add(listener);
}

function tell(reached) {
  for (const listener of listeners) listener(reached);
}

/** The response, if it is one that was hoped for. */
async function reached(address, options = {}) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    tell(false);
    throw new Problem(0, "unreachable", "");
  }
  tell(true);
  if (response.ok || response.status === 304) return response;
  const said = response.headers.get("Content-Type")?.includes("json") ? await response.json() : {};
  throw new Problem(response.status, said.code ?? "unknown", said.detail ?? response.statusText, Number(response.headers.get("Retry-After")) || null);
}

const answer = async (address, options) => (await reached(address, options)).json();

function form(fields) {
  const made = new FormData();
  for (const [name, value] of fields) {
    if (value === null || value === undefined || value === "") continue;
    if (value instanceof Blob) made.append(name, value, value.name ?? "photo.jpg");
    else made.append(name, String(value));
  }
  return made;
}

const post = (address, fields, options = {}) => answer(address, { method: "POST", body: form(fields), ...options });
const withToken = (token) => ({ headers: { Authorization: `Bearer ${token}` } });

export const model = () => answer("api/model");
export const catalogue = () => answer("api/catalogue");
export const item = (id, signal) => answer(`api/items/${id}`, { signal });
export const healthy = () => answer("healthz");

export const thumbnail = (id, version) => `api/items/${id}/thumbnail?v=${encodeURIComponent(version)}`;
export const original = (id) => `api/items/${id}/image`;

/** query: photo (Blob or null), like and unlike (ids), k, offset, threshold, where, lang. */
export function search(query, signal) {
  const fields = [
    ["image", query.photo],
    ...query.like.map((id) => ["like", id]),
    ...query.unlike.map((id) => ["unlike", id]),
    ["k", query.k],
    ["offset", query.offset],
    ["threshold", query.threshold],
    ["where", query.where],
    ["lang", query.lang],
    ["show_input", query.photo ? "true" : null],
  ];
  return post("api/search", fields, { signal });
}

/**
 * Where all items lie: ids, labels (a number each), names (what those numbers mean: a class, null for none, {others: 5}
 * for five classes together), texts (each item's own class, "" for none), points, sure (agree and of: see there; null
 * where that is not known), current (whether it is of now), tag; while there is none, how far it is: progress.
 * Null where it is still that of the tag. The answer is binary: see docs/server.md.
 */
export async function map(signal, tag = null) {
  const response = await reached("api/map", { signal, cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
  if (response.status === 304) return null;
  if (response.status === 202) return response.json();
  const buffer = await response.arrayBuffer();
  const [length] = new Uint32Array(buffer, 0, 1);
  const { count, labels: names, neighbours, other_labels: others, current } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length + ((4 - (length % 4)) % 4);
  const take = (Kind, size) => new Kind(buffer, at, size, (at += size * Kind.BYTES_PER_ELEMENT));
  const points = take(Float32Array, 2 * count);
  const low = take(Uint32Array, count);
  const high = take(Uint32Array, count);
  const labels = take(Uint16Array, count);
  const sure = neighbours ? { agree: take(Uint8Array, count), of: take(Uint8Array, count) } : null;
  const ids = Array.from(low, (part, place) => part + 2 ** 32 * high[place]);
  const shared = names.findIndex((name) => name !== null && typeof name === "object");
  const own = take(Uint16Array, labels.reduce((sum, label) => sum + (label === shared), 0)).values();
  const texts = Array.from(labels, (label) => (label === shared ? others[own.next().value] : names[label]) ?? "");
  return { points, labels, names, texts, sure, ids, current, tag: response.headers.get("ETag") };
}

export const place = (photo, signal) => post("api/map/place", [["image", photo]], { signal });

export const classify = (photo, lang, signal) => post("api/classify", [["image", photo], ["lang", lang], ["show_input", "true"]], { signal });

export const explain = (photo, lang, signal) => post("api/explain", [["image", photo], ["lang", lang]], { signal });

/** sides: two of Blob or id. The server takes pictures before items: `swapped` says that they came the other way round. */
export async function compare(sides, lang, signal) {
  const swapped = typeof sides[0] === "number" && typeof sides[1] !== "number";
  const fields = sides.map((side) => [typeof side === "number" ? "id" : "image", side]);
  const found = await post("api/compare", [...fields, ["lang", lang]], { signal });
  return swapped ? { ...found, a: found.b, b: found.a } : found;
}

export const add = (photo, label, token) => post("api/items", [["image", photo], ["label", label]], withToken(token));

export const remove = (ids, token) => answer(`api/items?${ids.map((id) => `id=${id}`).join("&")}`, { method: "DELETE", ...withToken(token) });
