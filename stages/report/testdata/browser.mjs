// Opens a report in a real Chromium and prints what is wrong with it, one line each: errors of the console, requests to anywhere,
// what axe-core finds, sideways scrolling on a phone, a control that the keyboard does not reach. Screenshots go into a folder.
//
//   node browser.mjs MODULES CHROMIUM PAGE FOLDER        MODULES holds playwright-core and axe-core
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const [modules, chromium, page, folder] = process.argv.slice(2).map((p) => resolve(p));
const require = createRequire(join(modules, "index.js"));
const playwright = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const views = [
  { name: "desktop", width: 1240, height: 900, colorScheme: "light" },
  { name: "dark", width: 1240, height: 900, colorScheme: "dark" },
  { name: "phone", width: 390, height: 844, colorScheme: "light" },
  { name: "phone-dark", width: 390, height: 844, colorScheme: "dark" },
];

const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await playwright.chromium.launch({ executablePath: chromium, args: flags });
let faults = 0, rules = 0;
const fault = (view, text) => { faults++; console.log(`${view}: ${text}`); };

for (const v of views) {
  // The page itself may run no script; axe and the checks run in a world of their own.
  const context = await browser.newContext({ viewport: { width: v.width, height: v.height }, deviceScaleFactor: 2, colorScheme: v.colorScheme, bypassCSP: true });
  const tab = await context.newPage();
  tab.on("console", (m) => { if (m.type() === "error" || m.type() === "warning") fault(v.name, `console: ${m.text()}`); });
  tab.on("pageerror", (e) => fault(v.name, `error: ${e.message}`));
  tab.on("request", (r) => { if (!/^(file|data):/.test(r.url())) fault(v.name, `request: ${r.url()}`); });
  await tab.goto(pathToFileURL(page).href);
  await tab.screenshot({ path: join(folder, `${v.name}.png`), fullPage: true });
  const wide = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) fault(v.name, `scrolls sideways by ${wide} pixels`);
  const small = await tab.evaluate(() => [...document.querySelectorAll("svg.plot text")].filter((t) => t.getClientRects().length && t.getBoundingClientRect().height < 11).length);
  if (small > 0) fault(v.name, `${small} texts in plots are too small to read`);
  const out = await tab.evaluate(() => [...document.querySelectorAll("svg.plot")].flatMap((s) => {
    const f = s.closest("figure")?.getBoundingClientRect();
    return f ? [...s.querySelectorAll("text")].filter((t) => { const b = t.getBoundingClientRect(); return b.width && (b.left < f.left - 1 || b.right > f.right + 1); }).map((t) => t.textContent) : [];
  }));
  for (const t of out) fault(v.name, `the text ${JSON.stringify(t)} leaves its figure`);
  // Every summary can be reached and opened with the keyboard alone; once is enough, the order is that of the document.
  const summaries = v.name === "desktop" ? await tab.locator("details:not([open]) > summary").count() : 0;
  let opened = 0;
  for (let i = 0; i < 60 * (summaries + 1) && opened < summaries; i++) {
    await tab.keyboard.press("Tab");
    if (await tab.evaluate(() => document.activeElement?.tagName === "SUMMARY" && !document.activeElement.parentElement.open)) { await tab.keyboard.press("Enter"); opened++; }
  }
  if (opened !== summaries) fault(v.name, `the keyboard opened ${opened} of ${summaries} tables`);
  await tab.evaluate(axe);
  const result = await tab.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations", "incomplete"] }));
  rules = Math.max(rules, result.passes.length);
  for (const x of result.violations) for (const n of x.nodes) fault(v.name, `axe ${x.id}: ${x.help}: ${n.html.slice(0, 160)}`);
  await context.close();
}

const context = await browser.newContext();
const tab = await context.newPage();
await tab.goto(pathToFileURL(page).href);
await tab.emulateMedia({ media: "print" });
const hiddenTables = () => [...document.querySelectorAll("details table")].filter((t) => !t.checkVisibility({ contentVisibilityAuto: true })).length;
await tab.waitForFunction(`(${hiddenTables})() === 0`, null, { timeout: 5000 }).catch(async () => fault("print", `${await tab.evaluate(hiddenTables)} tables are not printed`));
await tab.pdf({ path: join(folder, "print.pdf"), format: "A4" });
await browser.close();
console.log(`count: report: ${views.length} views and print in a real browser, ${rules} accessibility rules hold, ${faults} faults`);
process.exit(faults ? 1 : 0);
