/** What a PNG's header says: where it lies is fixed (RFC 2083, 4.1.1). */

const START = 16; // of width and height, four bytes each; then depth, and whether in colour
const END = 26;

/** Width, height and whether in colour, of a PNG in a data: address. */
export function header(address) {
  const from = address.indexOf(",") + 1;
  const bytes = Uint8Array.from(atob(address.slice(from, from + 36)), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer, START, END - START);
  return { width: view.getUint32(0), height: view.getUint32(4), colour: (view.getUint8(9) & 2) === 2 };
}
