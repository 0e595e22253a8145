// What the page shows, as the part of its address after the #, so that a link opens it again. Photos do not fit into an
// address: they lie in this browser's own store, under the hash of their bytes.

export const PAGE = 24;

const numbers = (text) => (text ?? "").split(",").map(Number).filter((id) => Number.isSafeInteger(id) && id > 0);

/** What an address says. */
export function read(hash) {
  const [view, rest = ""] = hash.replace(/^#/, "").split("?");
  const said = new URLSearchParams(rest);
  const crop = numbers0(said.get("crop"));
  const threshold = Number(said.get("min"));
  return {
    view: ["compare", "map"].includes(view) ? view : "search",
    photo: said.get("photo"),
    crop: crop.length === 4 ? crop : null,
    like: numbers(said.get("like")),
    unlike: numbers(said.get("unlike")),
    threshold: threshold > 0 && threshold <= 1 ? threshold : 0,
    label: said.get("class"),
    colour: said.get("colour") === "confidence" ? "confidence" : "class",
    a: sided(said.get("a")),
    b: sided(said.get("b")),
  };
}

const sided = (text) => (text !== null && sideOf(text) ? text : null);

const numbers0 = (text) => (text ? text.split(",").map(Number).filter((value) => value >= 0 && value <= 1) : []);
const boxed = (crop) => crop?.map((value) => value.toFixed(4)).join(",");

/** A photo, or the part of it inside a box, as a side of a comparison: photo:KEY or photo:KEY@x,y,w,h. */
export const side = (key, crop) => `photo:${key}${crop ? `@${boxed(crop)}` : ""}`;

/** What a side is: {id} of an item, {key, crop} of a photo, or null where it is neither. */
export function sideOf(text) {
  if (/^\d+$/.test(text)) return numbers(text).length ? { id: Number(text) } : null;
  const [, key, box] = /^photo:(\w+)(?:@([\d.,]+))?$/.exec(text) ?? [];
  const crop = numbers0(box);
  return key ? { key, crop: crop.length === 4 ? crop : null } : null;
}

/** The address of that: of what the view shows, then of what the others would. */
export function write(state) {
  const sides = { a: state.a, b: state.b };
  const question = {
    photo: state.photo,
    crop: boxed(state.crop),
    like: state.like.join(","),
    unlike: state.unlike.join(","),
    min: state.threshold ? state.threshold.toFixed(2) : "",
    class: state.label,
    colour: state.colour === "confidence" ? state.colour : "",
  };
  const all = state.view === "compare" ? { ...sides, ...question } : { ...question, ...sides };
  const said = new URLSearchParams(Object.entries(all).filter(([, value]) => value));
  const rest = said.toString().replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%40", "@");
  return `#${state.view}${rest && `?${rest}`}`;
}

/** The filter for a class, null for all. */
export const where = (label) => (label ? `label = '${label.replaceAll("'", "''")}'` : null);

// --- photos

const memory = new Map();

let opened = null;

/** One connection for as long as the page lives: one that nobody closes would hold up every change of the database. */
function database() {
  opened ??= new Promise((resolve, reject) => {
    const opening = indexedDB.open("vitrine", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("photos");
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const made = opening.result;
      made.onclose = () => (opened = null);
      made.onversionchange = () => {
        made.close();
        opened = null;
      };
      resolve(made);
    };
  }).catch((error) => {
    opened = null; // another time, perhaps
    throw error;
  });
  return opened;
}

const store = async (mode) => (await database()).transaction("photos", mode).objectStore("photos");

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** Keep a photo; by which key it is found again. */
export async function keep(photo) {
  const key = await hashed(photo);
  memory.set(key, photo);
  try {
    await done((await store("readwrite")).put(photo, key));
  } catch {
    // a browser that keeps nothing: until the page is closed
  }
  return key;
}

async function hashed(photo) {
  const bytes = await photo.arrayBuffer();
  if (!crypto.subtle) return `p${Date.now().toString(36)}`; // no https: the key need only be new
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...sum.slice(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The photo of that key, or null where this browser has none. */
export async function kept(key) {
  if (memory.has(key)) return memory.get(key);
  try {
    const photo = (await done((await store("readonly")).get(key))) ?? null;
    if (photo) memory.set(key, photo);
    return photo;
  } catch {
    return null;
  }
}

// --- what was looked at before

const PAST = "vitrine.past";
const MANY = 12;

/** The last states: address and a small picture each, the newest first. */
export function past() {
  try {
    return JSON.parse(localStorage.getItem(PAST)) ?? [];
  } catch {
    return [];
  }
}

/** Put a state in front of them. Photos that none of them shows any more are thrown away. */
export async function remember(address, image) {
  const all = [{ address, image }, ...past().filter((one) => one.image !== image && one.address !== address)].slice(0, MANY);
  try {
    localStorage.setItem(PAST, JSON.stringify(all));
    await prune();
  } catch {
    // full, or forbidden: there is no past then
  }
}

/** Delete the photos that are neither in the past nor in use since the page was opened. */
async function prune() {
  const wanted = new Set([...memory.keys(), ...past().map((one) => read(one.address.slice(one.address.indexOf("#"))).photo)]);
  const photos = await store("readwrite");
  const keys = await done(photos.getAllKeys());
  for (const key of keys) if (!wanted.has(key)) photos.delete(key);
}

/** Forget the past and every photo. */
export async function forget() {
  memory.clear();
  try {
    localStorage.removeItem(PAST);
    await done((await store("readwrite")).clear());
  } catch {
    // nothing was kept
  }
}
