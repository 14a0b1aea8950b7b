// Pictures of every report below FOLDER/reports and every mail in FOLDER/mails, and what axe-core and the eye of a script find
// wrong with them.
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { chromium } from "playwright-core";

const out = process.argv[2];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const views = [
  { name: "desktop", width: 1280, height: 900, colorScheme: "light" },
  { name: "desktop-dark", width: 1280, height: 900, colorScheme: "dark" },
  { name: "phone", width: 390, height: 844, colorScheme: "light" },
  { name: "phone-dark", width: 390, height: 844, colorScheme: "dark" },
  { name: "narrow", width: 360, height: 740, colorScheme: "light" },
];
const mailViews = [
  { name: "700", width: 700, height: 900, colorScheme: "light" },
  { name: "700-dark", width: 700, height: 900, colorScheme: "dark" },
  { name: "360", width: 360, height: 740, colorScheme: "light" },
  { name: "360-dark", width: 360, height: 740, colorScheme: "dark" },
];
const pages = readdirSync(join(out, "reports")).filter((name) => name.endsWith(".html")).map((name) => [name.slice(0, -5), `reports/${name}`, views]);
pages.push(["index", "reports/all/index.html", views]);
for (const name of readdirSync(join(out, "mails")).filter((name) => name.endsWith(".html"))) {
  pages.push([`mail-${name.slice(0, -5)}`, `mails/${name}`, mailViews]);
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
let wrong = 0;
const complain = (where, what) => {
  wrong += 1;
  console.log(`${where}: ${what}`);
};
for (const [name, file, seen] of pages) {
  for (const view of seen) {
    const where = `${name} ${view.name}`;
    // The page forbids scripts; the checks are ours.
    const context = await browser.newContext({
      viewport: { width: view.width, height: view.height }, colorScheme: view.colorScheme, deviceScaleFactor: 1, bypassCSP: true,
    });
    const page = await context.newPage();
    page.on("console", (message) => message.type() === "error" && complain(where, message.text()));
    page.on("request", (request) => request.url().startsWith("file:") || complain(where, `asks for ${request.url()}`));
    await page.goto(`file://${join(out, file)}`);
    // What is drawn only when it comes into sight is looked at, too.
    await page.addStyleTag({ content: ".detail { content-visibility: visible !important; }" });
    await page.screenshot({ path: join(out, `${name}-${view.name}.png`), fullPage: true });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (overflow > 0) complain(where, `the page is ${overflow} px wider than the screen`);
    // Tables and charts scroll by themselves, but how a statement adds up is seen as a whole.
    const cut = await page.evaluate(() => [...document.querySelectorAll(".equation")].map((box) => box.scrollWidth - box.clientWidth));
    if (cut.some((more) => more > 0)) complain(where, `how it adds up is cut by ${Math.max(...cut)} px`);
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }));
    for (const { id, help, nodes } of found.violations) {
      complain(where, `${id}: ${help} (${nodes.length} times, first ${nodes[0].target} ${nodes[0].any[0]?.message ?? ""})`);
    }
    await context.close();
  }
  if (seen === mailViews) continue;
  const context = await browser.newContext({ colorScheme: "dark" });
  const page = await context.newPage();
  await page.goto(`file://${join(out, file)}`);
  const pdf = join(out, `${name}-print.pdf`);
  await page.pdf({ path: pdf, preferCSSPageSize: true, printBackground: false });
  await context.close();
  try {
    execFileSync("pdftoppm", ["-r", "60", "-png", pdf, join(out, `${name}-print`)]);
  } catch {
    console.log("pdftoppm is not installed (Debian: poppler-utils): the PDF is not made into pictures");
  }
}
await browser.close();
console.log(wrong === 0 ? "axe-core finds nothing" : `${wrong} findings`);
process.exit(wrong === 0 ? 0 : 1);
