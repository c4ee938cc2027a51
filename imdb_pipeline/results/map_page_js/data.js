// Reads what map_page_data.py packed: a header and columns, gzipped, in base64.

const ARRAYS = { uint8: Uint8Array, uint16: Uint16Array, int16: Int16Array, uint32: Uint32Array, float32: Float32Array };

/** Lines of one text, by their number. */
export class Lines {
  constructor(text) {
    this.text = text;
    const starts = [0];
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", end + 1)) starts.push(end + 1);
    this.starts = Uint32Array.from(starts);
  }

  at(row) {
    const next = row + 1 < this.starts.length ? this.starts[row + 1] - 1 : this.text.length;
    return this.text.slice(this.starts[row], next);
  }

  /** The number of the line that a position is in. */
  rowOf(position) {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function decoded(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Numbers whose bytes lie apart: the first of all, the second of all, and so on. */
function joined(planes, Kind) {
  const size = Kind.BYTES_PER_ELEMENT;
  const n = planes.length / size;
  const bytes = new Uint8Array(planes.length);
  for (let plane = 0; plane < size; plane++) {
    for (let i = 0, to = plane, from = plane * n; i < n; i++, to += size) bytes[to] = planes[from + i];
  }
  return new Kind(bytes.buffer);
}

/** The columns of the page by name, typed arrays and Lines, beside rows, genreLists, bases. */
export async function readData(base64) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser cannot unpack the data; one of 2023 or later can (it lacks DecompressionStream)");
  }
  const stream = new Blob([decoded(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const first = 4 + new DataView(buffer).getUint32(0, true);
  const { columns, ...data } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, first - 4)));
  for (const [name, { type, offset, bytes }] of Object.entries(columns)) {
    const part = new Uint8Array(buffer, first + offset, bytes);
    data[name] = ARRAYS[type] ? joined(part, ARRAYS[type]) : new Lines(new TextDecoder().decode(part));
  }
  data.firstDirector = new Uint32Array(data.rows + 1);
  for (let row = 0; row < data.rows; row++) data.firstDirector[row + 1] = data.firstDirector[row] + data.directors[row];
  data.near = data.rows ? data.neighbours.length / data.rows : 0;
  return data;
}

/** One movie; what is missing is null. */
export function movieOf(data, row) {
  const hundredths = (name) => (data[name]?.[row] ? data[name][row] / 100 : null);
  const between = (from, to, value) => Array.from({ length: to - from }, (_, i) => value(from + i));
  const people = between(data.firstDirector[row], data.firstDirector[row + 1], (i) => data.people.at(data.directed[i]));
  return {
    row,
    id: `tt${data.ids.at(row)}`,
    title: data.titles.at(row),
    year: data.year[row] || null,
    genres: data.genreLists[data.genres[row]],
    directors: people,
    rating: data.rating[row] ? data.rating[row] / 10 : null,
    votes: data.votes[row],
    prediction: hundredths("prediction"),
    low: hundredths("low"),
    high: hundredths("high"),
    basis: data.basis?.[row] ? data.bases[data.basis[row] - 1] : null,
    neighbours: between(row * data.near, (row + 1) * data.near, (i) => ({
      row: data.neighbours[i],
      cosine: data.cosines[i] / 1000,
    })),
  };
}
