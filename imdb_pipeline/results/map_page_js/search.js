// Finds titles as they are typed: without regard to case, accents and punctuation.

import { Lines } from "./data.js";

const LETTERS = { ø: "o", ł: "l", đ: "d", ð: "d", þ: "th", ß: "ss", æ: "ae", œ: "oe", ı: "i" };

function simplified(part) {
  return part
    .normalize("NFKD")
    .replace(/\p{M}+/gu, "")
    .toLowerCase()
    .replace(/[øłđðþßæœı]/g, (letter) => LETTERS[letter])
    .replace(/[^\p{L}\p{N}]+/gu, " ");
}

/** Small letters and figures without accents, a space for all between them. */
export function folded(text) {
  // What is plain already is nearly all of it, and the rest is much the same again and again.
  const known = new Map();
  return text
    .toLowerCase()
    .replace(/['\u2019](?=[a-z]{1,2}(?![a-z]))/g, "") // what's is whats, and l'avventura two words
    .replace(/[^a-z0-9 \n]+/g, (part) => {
      if (!known.has(part)) known.set(part, simplified(part));
      return known.get(part);
    })
    .replace(/ {2,}/g, " ");
}

/** Calls back with the row of each line that holds a text, once a line. */
function eachHit(lines, wanted, call) {
  for (let at = lines.text.indexOf(wanted); at >= 0; ) {
    const row = lines.rowOf(wanted[0] === "\n" ? at + 1 : at);
    call(row);
    if (row + 1 >= lines.starts.length) return;
    at = lines.text.indexOf(wanted, lines.starts[row + 1] - 1);
  }
}

export class TitleSearch {
  constructor(data) {
    this.data = data;
    // The first line is empty, so that each title has a line break before it.
    this.lines = new Lines(`\n${folded(data.titles.text)}\n`.replace(/ *\n */g, "\n"));
  }

  /** The rows that a query means, the best first: the title itself, then by votes those with a word that begins so, then
   * those that hold it anywhere. A year may follow, and an id does as well. */
  find(query, limit) {
    if (/^\s*tt\d+\s*$/i.test(query)) {
      const rows = [];
      eachHit(new Lines(`\n${this.data.ids.text}\n`), `\n${query.trim().slice(2)}\n`, (row) => rows.push(row - 1));
      return rows;
    }
    const rows = this.#titled(query, limit, () => true);
    const dated = query.match(/^(.+?)[\s,]+\(?(\d{4})\)?\s*$/);
    if (dated) rows.push(...this.#titled(dated[1], limit, (row) => this.data.year[row] === +dated[2]));
    return [...new Set(rows)].slice(0, limit);
  }

  #titled(query, limit, accepted) {
    const wanted = folded(query).trim();
    if (!wanted) return query.trim() ? this.#asWritten(query.trim(), limit, accepted) : [];
    const exact = [];
    const words = new Set();
    const anywhere = [];
    const noted = (found) => (line) => {
      if (accepted(line - 1)) found(line - 1);
    };
    eachHit(this.lines, `\n${wanted}\n`, noted((row) => exact.push(row)));
    eachHit(this.lines, `\n${wanted}`, noted((row) => words.add(row)));
    eachHit(this.lines, ` ${wanted}`, noted((row) => words.add(row)));
    if (words.size < limit && wanted.length > 1) eachHit(this.lines, wanted, noted((row) => anywhere.push(row)));
    // Rows are in the order of their votes.
    const most = (rows) => [...rows].sort((a, b) => b - a).slice(0, limit);
    return [...new Set([...most(exact), ...most(words), ...most(anywhere)])].slice(0, limit);
  }

  /** For titles of nothing but punctuation. */
  #asWritten(query, limit, accepted) {
    const rows = [];
    eachHit(this.data.titles, query, (row) => accepted(row) && rows.push(row));
    return rows.reverse().slice(0, limit);
  }
}
