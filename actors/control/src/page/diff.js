// Compares two texts word by word. No DOM.

/** The most parts of a text that are compared, spaces included; what differs in longer texts counts as replaced as a whole. */
const LONGEST = 2000;

/** Words, and the spaces and punctuation between them. */
const split = (text) => text.match(/[\p{L}\p{N}_'’]+|\s+|[^\p{L}\p{N}_'’\s]/gu) ?? [];

/** The longest common subsequence of two short lists, as pairs of places. */
const common = (a, b) => {
  const width = b.length + 1;
  // The length of the longest one of the rests behind each pair of places.
  const best = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      best[i * width + j] = a[i] === b[j] ? best[(i + 1) * width + j + 1] + 1 : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
  const pairs = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) pairs.push([i++, j++]);
    else if (best[(i + 1) * width + j] >= best[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return pairs;
};

/**
 * The parts of two texts: `{ left, right, same }` lists of `{ text, same }` in their order, where `same` says that the other text
 * has the part too, and the share of the words that both have.
 */
export const diff = (left, right) => {
  const [a, b] = [split(left), split(right)];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const [midA, midB] = [a.slice(head, a.length - tail), b.slice(head, b.length - tail)];
  const pairs = midA.length > LONGEST || midB.length > LONGEST ? [] : common(midA, midB);
  const kept = [new Set(pairs.map(([i]) => head + i)), new Set(pairs.map(([, j]) => head + j))];
  const parts = (words, side) => {
    const found = [];
    words.forEach((text, at) => {
      const same = at < head || at >= words.length - tail || kept[side].has(at);
      const last = found[found.length - 1];
      if (last?.same === same) last.text += text;
      else found.push({ text, same });
    });
    return found;
  };
  const isWord = (text) => /[\p{L}\p{N}]/u.test(text);
  const inBoth = a.filter((text, at) => isWord(text) && (at < head || at >= a.length - tail || kept[0].has(at))).length;
  const words = Math.max(a.filter(isWord).length, b.filter(isWord).length);
  return { left: parts(a, 0), right: parts(b, 1), same: words ? inBoth / words : 1 };
};
