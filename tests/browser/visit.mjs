// Visits the pages of a running `creditd serve` over a demo ledger as people do: by mouse, by keyboard alone, without scripts, on
// a phone; and asks axe-core about every page. Complains on stdout and ends with 1 when anything is wrong.
//
//   node visit.mjs BASE ACCOUNT ADMIN_LINK PLATFORM_LINK MAIL_LINK END_LINK [FOLDER]     FOLDER gets a picture of every page
import { readFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [base, account, adminLink, platformLink, mailLink, endLink, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const here = `/accounts/${account}`;
const pages = {
  admin: [
    ["overview", here],
    ["transactions", `${here}/transactions`],
    ["refused", `${here}/transactions?status=refused`],
    ["nothing", `${here}/transactions?q=there+is+no+such+thing`],
    ["problem", `${here}/transactions?from=2026-13-01`],
    ["summary", `${here}/summary?from=2026-03-01&through=2026-03-31&by=day`],
    ["uses", `${here}/summary?from=2026-01-01&through=2026-03-31&by=month&of=action`],
    ["statements", `${here}/statements`],
    ["statement", `${here}/statements/2026-03`],
    ["prices", `${here}/prices`],
    ["notifications", `${here}/notifications`],
    ["not-found", "/accounts/nobody"],
  ],
  operator: [
    ["platform", "/platform"],
    ["accounts", "/platform/accounts?q=a"],
    ["alerts", "/platform/alerts"],
    ["admins", `${here}/notifications`],
  ],
  nobody: [
    ["shut", here],
    ["nowhere", "/nope/"],
    ["enter", new URL(adminLink).pathname],
    ["unsubscribe", new URL(endLink).pathname + new URL(endLink).search],
  ],
};
const links = { admin: adminLink, operator: platformLink };

let wrong = 0;
const complain = (where, what) => { wrong += 1; console.log(`${where}: ${what}`); };
const expect = (where, is, what) => is || complain(where, what);

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });

// A browser of somebody, which tells of whatever it does that it should not.
async function somebody(where, options = {}, link = null) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(120_000);
  context.on("request", (request) => request.url().startsWith(base) || request.url().startsWith("data:") || complain(where, `asks for ${request.url()}`));
  context.on("console", (message) => {
    const isStatus = /status of 40[034]/.test(message.text());
    if (message.type() === "error" && !isStatus) complain(where, message.text());
  });
  context.on("weberror", (error) => complain(where, error.error().message));
  if (link) {
    const page = await context.newPage();
    await page.goto(base + new URL(link).pathname);
    await page.click("button.main");
    await page.waitForURL((url) => !url.pathname.startsWith("/enter/"));
    await page.close();
  }
  return context;
}

// Every page, light and dark, on a desk and on a phone.
for (const [width, height] of [[1280, 900], [360, 740]]) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [who, list] of Object.entries(pages)) {
      // The pages forbid scripts that are not theirs; the checks are ours.
      const context = await somebody(who, { viewport: { width, height }, colorScheme, bypassCSP: true }, links[who]);
      const page = await context.newPage();
      for (const [name, path] of list) {
        const where = `${name} at ${width}, ${colorScheme}`;
        await page.goto(base + path);
        if (name === "overview") await page.click("details.help summary");
        if (folder) {
          mkdirSync(folder, { recursive: true });
          await page.screenshot({ path: join(folder, `${name}-${width}-${colorScheme}.png`), fullPage: true });
        }
        const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        expect(where, wider <= 0, `the page is ${wider} px wider than the screen`);
        if (width < 400) {
          // The narrowest that people have (WCAG 1.4.10).
          await page.setViewportSize({ width: 320, height });
          const wider = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
          const at320 = await wider();
          expect(where, at320 <= 0, `the page is ${at320} px wider than a screen of 320 px`);
          // With names, moments and figures as long as there can be.
          await page.evaluate(() => {
            const say = (what, text) => document.querySelectorAll(what).forEach((one) => { one.textContent = text; });
            say("bdi, .address, .list .code", "Donaudampfschifffahrtsgesellschaftskapitaenspatentanwaerterin");
            say("time", "30 September 2026, 12:34 a.m. GMT+13");
            say(".list:not(.jobs) td.figure, .log td.figure", "−999,999,999,999");
            say(".state:not(table .state)", "interrupted");
            say(".equation td", "−9,999,999,999,999");
            say(".amount", "9,999,999,999,999");
            document.querySelectorAll(".equation tbody tr").forEach((one) => one.classList.add("long"));
            document.querySelectorAll(".amount").forEach((one) => one.classList.add("long"));
          });
          const long = await wider();
          expect(where, long <= 0, `with long words, the page is ${long} px wider than a screen of 320 px`);
          const broken = await page.evaluate(() => {
            const text = document.createRange();
            const boxes = (one) => { text.selectNodeContents(one); return [...text.getClientRects()]; };
            const sums = [...document.querySelectorAll(".scroll:has(> .equation)")].filter((one) => one.scrollWidth > one.clientWidth);
            const rows = [...document.querySelectorAll(".equation tbody tr")].filter((row) => {
              const touches = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom - 1 && b.top < a.bottom - 1;
              return [...row.querySelectorAll("td")].flatMap(boxes).some((one, at, all) => all.slice(at + 1).some((other) => touches(one, other)));
            });
            const amounts = [...document.querySelectorAll(".amount")].filter((one) => boxes(one).length > 1);
            return [sums.length, rows.length, amounts.length].join();
          });
          expect(where, broken === "0,0,0", `sums too wide, rows whose figures meet, totals broken: ${broken}`);
          await page.setViewportSize({ width, height });
          await page.reload();
          if (name === "overview") await page.click("details.help summary");
        }
        await page.evaluate(axe);
        const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
        const found = await page.evaluate((runOnly) => window.axe.run(document, { runOnly }), tags);
        for (const { id, help, nodes } of found.violations) {
          complain(where, `${id}: ${help} (${nodes.length} times, first ${nodes[0].target} ${nodes[0].any[0]?.message ?? ""})`);
        }
      }
      await context.close();
    }
  }
}

// Without scripts, everything there is to do.
{
  const where = "without scripts";
  const context = await somebody(where, { javaScriptEnabled: false }, mailLink);
  const page = await context.newPage();
  const text = async (selector) => (await page.textContent(selector)) ?? "";
  await page.goto(base + "/");
  expect(where, new URL(page.url()).pathname === here, `begins at ${page.url()}`);
  for (const tab of ["Transactions", "Summary", "Statements", "What actions cost", "Notifications", "Overview"]) {
    await page.click(`nav.tabs >> text="${tab}"`);
    expect(where, (await text("nav.tabs a[aria-current]")).trim() === tab, `${tab} is not the page one is on`);
  }
  await page.click("details.help summary");
  expect(where, await page.isVisible("details.help table"), "the help does not open");
  await page.click('text="All transactions"');
  const rows = () => page.locator("table.log tbody tr").count();
  expect(where, (await rows()) === 50, "a page of the log has 50 rows");
  const first = await text("table.log tbody tr");
  await page.click("a.older");
  expect(where, (await text("table.log tbody tr")) !== first, "the next page is another");
  await page.click('nav.pages >> text="Newest"');
  expect(where, (await text("table.log tbody tr")) === first, "the newest come first again");
  await page.selectOption("#action", { label: "Erase" });
  await page.fill("#q", "campaign");
  await page.click("form.filters button");
  const whats = await page.locator("table.log td.what").allTextContents();
  const comments = await page.locator("table.log td.comment").allTextContents();
  expect(where, whats.length > 0 && whats.every((one) => one.includes("Erase")), "the filter by action lets others pass");
  expect(where, comments.every((one) => one.includes("campaign")), "the search finds others");
  expect(where, (await page.inputValue("#q")) === "campaign", "the form forgets what was asked");
  for (const [link, ending] of [["CSV", "csv"], ["Workbook (XLSX)", "xlsx"]]) {
    const [file] = await Promise.all([page.waitForEvent("download"), page.click(`.files >> text="${link}"`)]);
    expect(where, file.suggestedFilename().endsWith(`.${ending}`), `${link} is ${file.suggestedFilename()}`);
  }
  await page.goto(base + `${here}/summary`);
  await page.fill("#from", "2026-02-01");
  await page.fill("#through", "2026-02-28");
  await page.selectOption("#by", "week");
  await page.selectOption("#of", "user");
  await page.click("form.filters button");
  expect(where, (await text("h2#period")).includes("February 2026"), "the summary is of another range");
  expect(where, (await page.locator("svg.drawing").count()) > 0, "the summary has no chart");
  expect(where, (await page.locator("table.uses tbody tr").count()) > 0, "nobody used anything");
  for (const link of await page.locator("ul.files a").allTextContents()) {
    const [file] = await Promise.all([page.waitForEvent("download"), page.click(`ul.files >> text="${link}"`)]);
    expect(where, file.suggestedFilename().startsWith(`summary-${account}-2026-02-01-to-2026-02-28.`), `${link} is ${file.suggestedFilename()}`);
    expect(where, readFileSync(await file.path()).length > 0, `${link} is empty`);
  }
  await page.goto(base + `${here}/statements`);
  await page.click("table.list tbody tr:nth-child(1) a");
  expect(where, (await text("h1")).includes("March 2026"), "the newest statement is not that of March");
  const [workbook] = await Promise.all([page.waitForEvent("download"), page.click('text="its workbook"')]);
  expect(where, workbook.suggestedFilename().endsWith(".xlsx"), `the workbook is ${workbook.suggestedFilename()}`);
  await page.click('text="the mail"');
  expect(where, (await page.locator("img[src^='data:image/png']").count()) === 1, "the mail has no chart");
  await page.goto(base + `${here}/notifications`);
  const daily = page.locator("#daily-report");
  const was = await daily.isChecked();
  await daily.setChecked(!was);
  await page.click("button.main");
  expect(where, (await text(".saved")).includes("Saved") && (await daily.isChecked()) === !was, "a wish is not saved");
  await page.goto(endLink.replace(new URL(endLink).origin, base));
  await page.click("button.main");
  expect(where, (await text("h1")).includes("have ended"), "mails are not ended");
  await page.goto(base + `${here}/notifications`);
  expect(where, !(await page.locator("#alerts").isChecked()), "the alerts are still wished");
  await page.click('text="Leave"');
  await page.goto(base + here);
  expect(where, (await text("h1")).includes("opens by a link"), "whoever left is still in");
  await context.close();
}

// By the keyboard alone.
{
  const where = "by the keyboard";
  const context = await somebody(where);
  const page = await context.newPage();
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim().replace(/\s+/g, " ") ?? "");
  const tabTo = async (what) => {
    for (let at = 0; at < 80; at += 1) {
      await page.keyboard.press("Tab");
      if ((await focused()).includes(what)) {
        const seen = await page.evaluate(() => {
          const style = getComputedStyle(document.activeElement);
          return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
        });
        return expect(where, seen, `the focus on ${what} is not seen`);
      }
    }
    complain(where, `${what} cannot be reached`);
  };
  await page.goto(base + new URL(adminLink).pathname);
  await tabTo("Open the page");
  await Promise.all([page.waitForURL(base + here), page.keyboard.press("Enter")]);
  await page.keyboard.press("Tab");
  expect(where, (await focused()).includes("Skip"), "the first stop does not skip to the content");
  await page.keyboard.press("Enter");
  await tabTo("What actions cost");
  await page.keyboard.press("Enter");
  expect(where, await page.isVisible("details.help table"), "the help does not open");
  await tabTo("All transactions");
  await Promise.all([page.waitForURL(`**${here}/transactions`), page.keyboard.press("Enter")]);
  await page.focus("#status");
  await page.keyboard.press("ArrowDown");
  expect(where, page.url().endsWith("/transactions"), "walking over choices sends the form");
  await tabTo("Show");
  await Promise.all([page.waitForURL("**status=**"), page.keyboard.press("Enter")]);
  await context.close();
}

// By the mouse, with our script: rows are added in place, and a choice shows at once.
{
  const where = "with scripts";
  const context = await somebody(where, {}, adminLink);
  const page = await context.newPage();
  await page.goto(base + `${here}/transactions`);
  await page.click("a.older");
  await page.waitForFunction(() => document.querySelectorAll("table.log tbody tr").length === 100);
  await context.close();
}

// An operator finds an account.
{
  const where = "an operator";
  const context = await somebody(where, {}, platformLink);
  const page = await context.newPage();
  await page.goto(base + "/");
  expect(where, new URL(page.url()).pathname === "/platform", `begins at ${page.url()}`);
  expect(where, (await page.locator("table.jobs tbody tr").count()) >= 9, "jobs are missing");
  await page.fill("#q", account.slice(0, 4));
  await page.keyboard.press("Enter");
  await page.waitForURL("**/platform/accounts**");
  await page.click(`text="${account}"`);
  await page.waitForURL(base + here);
  expect(where, (await page.textContent(".who"))?.includes("operator"), "an operator is taken for somebody else");
  await context.close();
}

await browser.close();
console.log(wrong === 0 ? "nothing is wrong" : `${wrong} findings`);
process.exit(wrong === 0 ? 0 : 1);
