// Opens a report as its readers do, in Chromium, light and dark, on a wide and on a narrow screen, and printed.
//
//     make accessibility
//     node check.js REPORT.html [--screenshots FOLDER] [--chromium PROGRAM] [--timed]
//
// It fails if axe-core finds a violation of WCAG 2.1 A or AA, if the page or a table is cut off on A4, if the page scrolls
// sideways, or if a script fails; with --timed, also if it takes a second or longer until it is laid out.
import { createRequire } from "node:module";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    screenshots: { type: "string" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
    timed: { type: "boolean" },
  },
});
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const report = positionals[0];
const mib = statSync(report).size / 2 ** 20;
console.log(`${report}: ${mib.toFixed(2)} MiB`);
let failures = 0;
const fail = (text) => {
  failures += 1;
  console.log(`FAILED: ${text}`);
};
if (mib > 5) fail("the file has more than 5 MiB");

const browser = await chromium.launch({
  executablePath: values.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
});

// Wider than what the element shows, and nothing to scroll it with.
const cut = () =>
  [...document.querySelectorAll("table, svg, pre, .charts, .cards")]
    .filter((element) => element.getClientRects().length > 0)
    .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map((element) => `${element.tagName} ${element.className?.baseVal ?? element.className}`);

for (const scheme of ["light", "dark"]) {
  for (const width of [1280, 400]) {
    // The page's policy allows no script but its own; axe is put in by the browser, past the policy.
    const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height: 900 }, bypassCSP: true });
    const page = await context.newPage();
    page.on("pageerror", (error) => fail(`${scheme}, ${width}: ${error}`));
    await page.goto(pathToFileURL(report).href, { waitUntil: "load" });
    const milliseconds = await page.evaluate(() => {
      const [navigation] = performance.getEntriesByType("navigation");
      const paint = performance.getEntriesByName("first-contentful-paint")[0];
      return Math.max(navigation.loadEventEnd, paint?.startTime ?? 0);
    });
    console.log(`${scheme}, ${width} pixels: laid out after ${milliseconds.toFixed(0)} ms`);
    if (values.timed && milliseconds >= 1000) fail("it takes a second or longer");
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (overflow > 0) fail(`${scheme}, ${width}: the page is ${overflow} pixels wider than the screen`);
    await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
    await page.addScriptTag({ content: axe });
    const found = await page.evaluate(() =>
      window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }),
    );
    for (const violation of found.violations) {
      const where = violation.nodes.slice(0, 3).map((node) => node.target.join(" ")).join("; ");
      fail(`${scheme}, ${width}: ${violation.id} (${violation.impact}), ${violation.nodes.length} times, such as ${where}: ${violation.help}`);
    }
    console.log(`${scheme}, ${width} pixels: ${found.passes.length} rules of axe ${found.testEngine.version} pass`);
    await context.close();
    if (values.screenshots && width > 1000) {
      mkdirSync(values.screenshots, { recursive: true });
      const shot = await browser.newPage({ colorScheme: scheme, viewport: { width, height: 1400 } });
      await shot.goto(pathToFileURL(report).href);
      await shot.screenshot({ path: `${values.screenshots}/report-${scheme}.png` });
      await shot.close();
    }
  }
}

// A4 has 794 pixels of 1/96 inch; margins of 12 mm on both sides leave 703.
const page = await browser.newPage({ viewport: { width: 703, height: 1000 } });
await page.goto(pathToFileURL(report).href);
await page.emulateMedia({ media: "print" });
for (const element of await page.evaluate(cut)) fail(`printed: ${element} is cut off`);
const pdf = await page.pdf({ format: "A4", margin: { top: "12mm", bottom: "12mm", left: "12mm", right: "12mm" }, printBackground: true });
console.log(`printed: ${pdf.toString("latin1").split("/Type /Page\n").length - 1} pages`);
await browser.close();
console.log(failures === 0 ? "no failure" : `${failures} failures`);
process.exit(failures === 0 ? 0 : 1);
