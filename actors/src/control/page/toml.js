// Reads the options of a reward as a scenario writes them: TOML's keys, strings, numbers, booleans, arrays, inline
// tables and [tables]. Dates are left out: no reward takes one. Pure.

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  fail(problem) {
    const before = this.text.slice(0, this.at);
    const line = before.split("\n").length;
    throw new Error(`options, line ${line}, column ${this.at - before.lastIndexOf("\n")}: ${problem}`);
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    return found;
  }

  /** Passes over blanks and comments; over ends of lines too if asked to. */
  skip(lines) {
    this.match(lines ? /(?:\s|#[^\n]*)*/y : /[ \t]*(?:#[^\n]*)?/y);
  }

  take(sign) {
    if (!this.text.startsWith(sign, this.at)) return false;
    this.at += sign.length;
    return true;
  }

  expect(sign) {
    if (!this.take(sign)) this.fail(`expected ${sign}`);
  }

  string() {
    const long = this.match(/"""\n?([^]*?)"""|'''\n?([^]*?)'''/y);
    if (long) return long[1] === undefined ? long[2] : this.unescape(long[1]);
    const literal = this.match(/'([^'\n]*)'/y);
    if (literal) return literal[1];
    const basic = this.match(/"((?:[^"\\\n]|\\.)*)"/y);
    return basic ? this.unescape(basic[1]) : this.fail("the string has no end");
  }

  unescape(text) {
    const letters = { n: "\n", t: "\t", r: "\r", b: "\b", f: "\f", '"': '"', "\\": "\\" };
    return text.replace(/\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|\s*\n\s*|(.))/g, (whole, four, eight, letter) => {
      if (four ?? eight) return String.fromCodePoint(parseInt(four ?? eight, 16));
      if (letter === undefined) return "";
      return letters[letter] ?? this.fail(`unknown escape ${whole}`);
    });
  }

  key() {
    const path = [];
    do {
      this.skip(false);
      const bare = this.match(/[A-Za-z0-9_-]+/y);
      if (bare) path.push(bare[0]);
      else if (/["']/.test(this.text[this.at] ?? "")) path.push(this.string());
      else this.fail("expected a key, for example command = [\"python3\", \"reward.py\"]");
      this.skip(false);
    } while (this.take("."));
    return path;
  }

  value() {
    this.skip(false);
    const next = this.text[this.at];
    if (next === '"' || next === "'") return this.string();
    if (next === "[") return this.list();
    if (next === "{") return this.inline();
    const word = this.match(/true\b|false\b/y);
    if (word) return word[0] === "true";
    const digits = this.match(/[+-]?(?:0x[0-9a-fA-F_]+|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)(?![\w.])/y);
    if (digits) return Number(digits[0].replaceAll("_", ""));
    return this.fail("expected a value: text stands in quotes");
  }

  list() {
    this.expect("[");
    const found = [];
    for (;;) {
      this.skip(true);
      if (this.take("]")) return found;
      found.push(this.value());
      this.skip(true);
      if (!this.take(",") && this.text[this.at] !== "]") this.fail("expected , or ]");
    }
  }

  inline() {
    this.expect("{");
    const table = {};
    this.skip(true);
    while (!this.take("}")) {
      this.pair(table);
      this.skip(true);
      if (!this.take(",") && this.text[this.at] !== "}") this.fail("expected , or }");
      this.skip(true);
    }
    return table;
  }

  pair(table) {
    const path = this.key();
    this.expect("=");
    const last = path.pop();
    const inner = this.inside(table, path);
    if (Object.hasOwn(inner, last)) this.fail(`${last} is there twice`);
    inner[last] = this.value();
  }

  inside(table, path) {
    return path.reduce((outer, name) => {
      if (!Object.hasOwn(outer, name)) outer[name] = {};
      if (typeof outer[name] !== "object" || Array.isArray(outer[name])) this.fail(`${name} is a value, not a table`);
      return outer[name];
    }, table);
  }

  document() {
    const root = {};
    let table = root;
    for (;;) {
      this.skip(true);
      if (this.at >= this.text.length) return root;
      if (this.take("[")) {
        const path = this.key();
        this.expect("]");
        table = this.inside(root, path);
      } else this.pair(table);
      this.skip(false);
      if (this.at < this.text.length && this.text[this.at] !== "\n" && this.text[this.at] !== "\r") this.fail("expected the end of the line");
    }
  }
}

/** A table of options out of TOML or JSON. Throws an Error of one line that says where it is wrong. */
export const readOptions = (text) => {
  const trimmed = text.trim();
  if (!trimmed.startsWith("{")) return new Reader(text).document();
  try {
    return JSON.parse(trimmed);
  } catch (problem) {
    throw new Error(`options: ${problem.message}`);
  }
};

const writeValue = (value) => {
  if (Array.isArray(value)) return `[${value.map(writeValue).join(", ")}]`;
  if (value !== null && typeof value === "object") return `{ ${Object.entries(value).map(([key, inner]) => `${writeKey(key)} = ${writeValue(inner)}`).join(", ")} }`;
  return JSON.stringify(value);
};
const writeKey = (key) => (/^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key));

/** Options as TOML, a line each. */
export const writeOptions = (table) =>
  Object.entries(table).filter(([, value]) => value !== null && value !== undefined).map(([key, value]) => `${writeKey(key)} = ${writeValue(value)}`).join("\n");
