// Opens the live page of a run in Chromium, light and dark, on a wide and on a narrow screen, with its dialogs.
//
//     make accessibility
//     node live.js SANDBOX SCENARIO [--screenshots FOLDER] [--chromium PROGRAM]
//
// It starts a run of two arms under two seeds and ends it. It fails if axe-core finds a violation of WCAG 2.1 A or AA, if the
// page scrolls sideways, or if a script fails.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { screenshots: { type: "string" }, chromium: { type: "string", default: "/usr/bin/chromium" } },
});
const [sandbox, scenario] = positionals;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let failures = 0;
const fail = (text) => {
  failures += 1;
  console.log(`FAILED: ${text}`);
};

const folder = mkdtempSync(join(tmpdir(), "live-page-"));
const run = spawn(resolve(sandbox), [scenario, "--arm", "grpo+atar", "--arm", "grpo+atar+cr+tr", "--seeds", "7,8", "--set", "run.steps=100000", "--set", "eval.every=20", "--set", "run.parallel_arms=4", "--out", folder, "-q"], { stdio: "inherit" });

/** The address and the token of the run, once it serves its page. */
const control = async () => {
  for (;;) {
    for (const name of readdirSync(folder)) {
      const file = join(folder, name, "control.json");
      if (existsSync(file)) return JSON.parse(readFileSync(file, "utf8"));
    }
    if (run.exitCode !== null) throw new Error(`the run ended with ${run.exitCode}`);
    await sleep(100);
  }
};

/** What is looked at: a name, and how to get there from the page as it opens. */
const STATES = {
  "a plot per metric": async () => {},
  "a plot per arm": (page) => page.click('#layouts [data-value="arm"]'),
  "a completion": async (page) => {
    await page.click("#rollouts-body .fold");
    await page.waitForSelector(".actions");
  },
  "the arms compared": async (page) => {
    await page.click("#rollouts-body .fold");
    await page.click(".actions button");
    await page.waitForSelector("#compare-two pre");
  },
  "a note": async (page) => {
    await page.keyboard.press("n");
    await page.fill("#note-text", "a note");
    await page.click("#note-save");
    await page.waitForSelector("#bookmark-list li");
    await page.keyboard.press("n");
  },
  "what if": async (page) => {
    await page.click("#what-if summary");
    await page.waitForSelector("#if-figures:not([hidden])");
  },
  "a fork": (page) => page.keyboard.press("c"),
  "the help": (page) => page.keyboard.press("?"),
};

const look = async (browser, { address, token }, scheme, width, [name, go]) => {
  // The page's policy allows no script but its own; axe is put in by the browser, past the policy.
  const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height: 1000 }, bypassCSP: true });
  const page = await context.newPage();
  const where = `${scheme}, ${width}, ${name}`;
  page.on("pageerror", (error) => fail(`${where}: ${error}`));
  await page.goto(`${address}/#${token}`);
  await page.waitForSelector("#plots canvas");
  await page.waitForSelector("#rollouts-body .fold");
  await go(page);
  await page.waitForTimeout(300);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (overflow > 0) fail(`${where}: the page is ${overflow} pixels wider than the screen`);
  await page.addScriptTag({ content: axe });
  const found = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }));
  for (const violation of found.violations) {
    const nodes = violation.nodes.slice(0, 3).map((node) => node.target.join(" ")).join("; ");
    fail(`${where}: ${violation.id} (${violation.impact}), ${violation.nodes.length} times, such as ${nodes}: ${violation.help}`);
  }
  console.log(`${where}: ${found.passes.length} rules of axe ${found.testEngine.version} pass`);
  if (values.screenshots && width > 1000 && ["a plot per metric", "the arms compared"].includes(name)) {
    mkdirSync(values.screenshots, { recursive: true });
    const kind = name === "a plot per metric" ? "live-page" : "live-page-compared";
    await page.screenshot({ path: join(values.screenshots, `${kind}${scheme === "dark" ? "-dark" : ""}.png`) });
  }
  await context.close();
};

try {
  const live = await control();
  const browser = await chromium.launch({ executablePath: values.chromium, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"] });
  for (const scheme of ["light", "dark"]) for (const width of [1440, 400]) for (const state of Object.entries(STATES)) await look(browser, live, scheme, width, state);
  await browser.close();
} catch (error) {
  fail(error);
} finally {
  run.kill();
  await new Promise((ended) => (run.exitCode === null ? run.once("exit", ended) : ended()));
  rmSync(folder, { recursive: true, force: true });
}
console.log(failures === 0 ? "no failure" : `${failures} failures`);
process.exit(failures === 0 ? 0 : 1);
