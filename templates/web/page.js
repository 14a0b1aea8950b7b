// What is nicer with a script. Everything works without.
"use strict";

// A form that chooses what is shown is sent when something is chosen; what is typed waits for the button.
for (const form of document.querySelectorAll("form.filters")) {
  for (const choice of form.querySelectorAll("select")) {
    // By the keyboard, one walks over choices on the way to another: only a choice that was made by hand is sent at once.
    let byHand = false;
    choice.addEventListener("pointerdown", () => { byHand = true; });
    choice.addEventListener("keydown", () => { byHand = false; });
    choice.addEventListener("change", () => { if (byHand) form.requestSubmit(); });
  }
  // What is empty need not stand in the address.
  form.addEventListener("submit", () => {
    for (const field of form.elements) {
      if (field.name && field.value === "") field.disabled = true;
    }
    // A browser that comes back by its history shows the form as it was left.
    addEventListener("pageshow", () => { for (const field of form.elements) field.disabled = false; }, { once: true });
  });
}

// The tab one is on is in sight where not all fit.
const here = document.querySelector(".tabs a[aria-current]");
if (here) {
  const tabs = here.closest(".tabs");
  tabs.scrollLeft = here.offsetLeft - tabs.offsetLeft - 24;
}

// A long list is followed by the next one in place, so that what was read stays in sight.
addEventListener("click", async (event) => {
  const older = event.target.closest && event.target.closest("a.older");
  const body = document.querySelector("table.log tbody");
  if (!older || !body || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  older.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(older.href, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const rows = page.querySelectorAll("table.log tbody tr");
    const first = rows[0];
    body.append(...rows);
    const next = page.querySelector("a.older");
    if (next) older.href = next.getAttribute("href");
    else older.remove();
    older.removeAttribute("aria-busy");
    // Whoever reads by the keyboard goes on with the first new row.
    if (first && event.detail === 0) { first.tabIndex = -1; first.focus(); }
  } catch {
    location.href = older.href;
  }
});
