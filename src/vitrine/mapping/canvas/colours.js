// What the points of a map are coloured by: their class, or how far their neighbours bear it out.

// As far apart as twenty can be that are seen on light and on dark ground; the first ten also by most who see less of
// red or green. Then a grey for what shares a colour, and one for what has no class.
const CLASSES = ["#b84034", "#acd034", "#f494f4", "#9464dc", "#1c4cb8", "#58a010", "#f47c10", "#882888", "#106410", "#10acf4", "#1cd0b8", "#f47094", "#e8b894", "#347cc4", "#109488", "#a07010", "#b8a01c", "#704c10", "#acc4f4", "#c44ca0"];
const OTHERS = "#9a9a9a";
const NONE = "#6b6b6b";

// Viridis, in sixteenths: as even to the eye as it is in numbers, and for those who see less of red or green, too.
const VIRIDIS = ["#440154", "#48186a", "#472d7b", "#424086", "#3b528b", "#33638d", "#2c728e", "#26828e", "#21918c", "#1fa088", "#28ae80", "#3fbc73", "#5ec962", "#84d44b", "#addc30", "#d8e219", "#fde725"];
const PART = 0.75; // of it is used: the end that is as light, or as dark, as the ground is left out
const RANKS = 1000; // shares are told apart to so many steps, when it comes to who is painted last

/** A colour as a canvas keeps it: 0xAABBGGRR. */
export function packed(colour) {
  const value = Number.parseInt(colour.slice(1), 16);
  return (0xff000000 | ((value & 255) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

/** The colour of class number so and so. kind: "class", "others" for what shares a colour, "none" for no class. */
export function classColour(number, kind) {
  return kind === "none" ? NONE : kind === "others" ? OTHERS : CLASSES[number % CLASSES.length];
}

/** The colour of a share, 0 to 1: the less, the more it stands out from the ground. NaN is grey. */
export function shareColour(share, dark) {
  if (Number.isNaN(share)) return NONE;
  const at = (dark ? 1 - PART * share : PART * share) * (VIRIDIS.length - 1);
  const [below, above] = [VIRIDIS[Math.floor(at)], VIRIDIS[Math.ceil(at)]];
  const mixed = [1, 3, 5].map((from) => {
    const [a, b] = [below, above].map((colour) => Number.parseInt(colour.slice(from, from + 2), 16));
    return Math.round(a + (b - a) * (at - Math.floor(at))).toString(16).padStart(2, "0");
  });
  return `#${mixed.join("")}`;
}

/** Colours of so many steps from 0 to 1, for a scale. */
export const shareScale = (steps, dark) => Array.from({ length: steps }, (_, step) => shareColour(step / (steps - 1), dark));

/** Colours of points, packed, by class. kinds: what each class is, as for `classColour`. */
export function byClass(labels, kinds) {
  const packs = kinds.map((kind, number) => packed(classColour(number, kind)));
  return Uint32Array.from(labels, (label) => packs[label]);
}

/**
 * Colours of points, packed, by how many of so many neighbours agree: agree[i] of of[i], NaN where that is 0. And the
 * order to paint them in: what is least sure comes last, above the others.
 */
export function byConfidence({ agree, of }, dark) {
  const packs = new Map();
  const colours = Uint32Array.from(agree, (some, i) => {
    const key = 256 * some + of[i];
    if (!packs.has(key)) packs.set(key, packed(shareColour(some / of[i], dark)));
    return packs.get(key);
  });
  const ranks = Array.from({ length: RANKS + 2 }, () => []);
  agree.forEach((some, i) => ranks[of[i] ? Math.round((RANKS * some) / of[i]) : RANKS + 1].push(i));
  return { colours, sequence: Uint32Array.from(ranks.reverse().flat()) };
}
