// Keys and the clock of the judging screen. Everything works without: the page is a form.
"use strict";
// An image that does not load gives its place to the text, and says so.
for (const image of document.querySelectorAll("[data-image]")) {
  const gone = () => {
    image.closest(".card").classList.remove("pictured");
    const said = document.createElement("p");
    said.className = "quiet";
    said.textContent = "The image does not load.";
    image.replaceWith(said);
  };
  if (image.complete && !image.naturalWidth) gone();
  else image.addEventListener("error", gone);
}
(() => {
  const form = document.querySelector("form[data-vote]");
  if (!form) return;
  const note = form.querySelector("[data-note]");
  const cannot = form.querySelector("[data-cannot]");
  const seconds = form.querySelector("[data-seconds]");
  const guide = document.querySelector("[data-guide]");

  // How long the page was looked at: time in the background does not count.
  let looked = 0, since = document.hidden ? null : performance.now();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && since !== null) { looked += performance.now() - since; since = null; }
    else if (!document.hidden && since === null) since = performance.now();
  });

  // One vote a page: a second press is not sent. A page that comes back from the history is loaded again.
  let sent = false;
  document.addEventListener("submit", (event) => {
    if (sent) { event.preventDefault(); return; }
    sent = true;
    if (seconds) seconds.value = ((looked + (since === null ? 0 : performance.now() - since)) / 1000).toFixed(2);
  });
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  // Keys may be switched off: some people's aids send letters of their own.
  const box = document.querySelector("[data-keys]"), check = box.querySelector("input");
  const store = (() => { try { return window.localStorage; } catch { return null; } })();
  box.hidden = false;
  check.checked = store?.getItem("keys") !== "off";
  document.body.classList.toggle("keyless", !check.checked);
  check.addEventListener("change", () => {
    store?.setItem("keys", check.checked ? "on" : "off");
    document.body.classList.toggle("keyless", !check.checked);
  });

  const press = (button) => { if (button && !sent) { button.focus(); button.click(); } };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if (cannot) cannot.open = false;
      document.activeElement?.blur();
      return;
    }
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (!check.checked || typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const key = event.key.toLowerCase();
    if (cannot?.open && /^[1-9]$/.test(key)) {
      event.preventDefault();
      press(form.querySelector(`[data-reason="${key}"]`));
    } else if (key === "n") {
      event.preventDefault();
      note.focus();
    } else if (key === "x" && cannot) {
      event.preventDefault();
      cannot.open = !cannot.open;
      (cannot.open ? cannot.querySelector("button") : cannot.querySelector("summary")).focus();
    } else if (key === "g" && guide) {
      guide.open = !guide.open;
    } else if (/^[\p{L}\p{N}]$/u.test(key)) {
      const button = [...form.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key);
      if (button) { event.preventDefault(); press(button); }
    }
  });

  // Enter in a note must not give the first grade by accident.
  note.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); note.blur(); }
  });

  if (guide && window.matchMedia("(max-width: 60rem)").matches) guide.open = false;
})();
