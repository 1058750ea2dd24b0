// Reads a shaping formula as the run does, so that a reward can be taken apart into the terms of its sum. Pure.
//
// The run alone decides what a formula may say; a text that is not understood here is shown as one piece.

const FUNCTIONS = {
  min: Math.min, max: Math.max, abs: Math.abs, exp: Math.exp, ln: Math.log, sqrt: Math.sqrt, tanh: Math.tanh,
  floor: Math.floor, ceil: Math.ceil,
  // Halves away from zero, unlike Math.round.
  round: (value) => Math.sign(value) * Math.round(Math.abs(value)),
};

const TOKEN = /\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([\p{L}_][\p{L}\p{N}_]*)|\{([^}]*)\}|([-+*/^(),]))/uy;

const tokens = (text) => {
  const found = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const from = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) throw new Error(`not a formula at ${from}`);
    const [whole, numeral, name, braced, sign] = match;
    const start = from + whole.length - whole.trimStart().length;
    found.push({ numeral, name: name ?? braced, braced: braced !== undefined, sign, start, end: TOKEN.lastIndex });
  }
  return found;
};

/** A tree of `{ number } | { name } | { call, of } | { sign, left, right }`, each with `start` and `end`. */
const parse = (text) => {
  const list = tokens(text);
  let at = 0;
  const peek = (...signs) => signs.includes(list[at]?.sign);
  const expect = (sign) => {
    if (!peek(sign)) throw new Error(`${sign} is missing`);
    return list[at++];
  };
  const binary = (next, ...signs) => () => {
    let left = next();
    while (peek(...signs)) {
      const { sign } = list[at++];
      const right = next();
      left = { sign, left, right, start: left.start, end: right.end };
    }
    return left;
  };
  const atom = () => {
    const token = list[at++];
    if (!token) throw new Error("the formula ends too early");
    if (token.numeral) return { number: Number(token.numeral), start: token.start, end: token.end };
    if (token.name !== undefined) {
      if (token.braced || !peek("(")) return { name: token.name, start: token.start, end: token.end };
      at++;
      const of = [sum()];
      while (peek(",")) {
        at++;
        of.push(sum());
      }
      return { call: token.name, of, start: token.start, end: expect(")").end };
    }
    if (token.sign === "(") {
      const inner = sum();
      return { ...inner, start: token.start, end: expect(")").end };
    }
    if (token.sign === "-" || token.sign === "+") {
      const inner = unary();
      return token.sign === "+" ? inner : { sign: "neg", left: inner, start: token.start, end: inner.end };
    }
    throw new Error(`not expected: ${token.sign}`);
  };
  const power = () => {
    const left = atom();
    if (!peek("^")) return left;
    at++;
    const right = atom();
    return { sign: "^", left, right, start: left.start, end: right.end };
  };
  const unary = power;
  const product = binary(unary, "*", "/");
  const sum = binary(product, "+", "-");
  const tree = sum();
  if (at < list.length) throw new Error("more than one formula");
  return tree;
};

/** The value under these names; NaN where one is missing. */
const evaluate = (node, names) => {
  if (node.number !== undefined) return node.number;
  if (node.name !== undefined) return names[node.name] ?? NaN;
  if (node.call) return FUNCTIONS[node.call]?.(...node.of.map((one) => evaluate(one, names))) ?? NaN;
  const left = evaluate(node.left, names);
  if (node.sign === "neg") return -left;
  const right = evaluate(node.right, names);
  return { "+": left + right, "-": left - right, "*": left * right, "/": left / right, "^": left ** right }[node.sign];
};

/** The terms of the outermost sum, parentheses around a part of it opened: `{ text, tree, sign }`. */
export const terms = (text) => {
  const split = (node, sign) => {
    if (node.sign === "+" || node.sign === "-") return [...split(node.left, sign), ...split(node.right, node.sign === "-" ? -sign : sign)];
    return [{ text: text.slice(node.start, node.end), tree: node, sign }];
  };
  return split(parse(text), 1);
};

/** Every component and weight that a formula names. */
export const namesIn = (text) => {
  try {
    return new Set(tokens(text).filter(({ name }) => name !== undefined).map(({ name }) => name));
  } catch {
    return new Set();
  }
};

/** What each term of the formula adds: `[{ text, value }]`, or null if the formula is not understood here. */
export const takeApart = ({ formula, weights }, components) => {
  const names = { ...components };
  for (const [name, value] of Object.entries(weights)) names[`w_${name}`] = value;
  try {
    return terms(formula).map(({ text, tree, sign }) => ({ text: sign < 0 ? `− ${text}` : text, value: sign * evaluate(tree, names) }));
  } catch {
    return null;
  }
};
