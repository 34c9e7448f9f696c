// Keys, copying, the theme's button and htmx's failures. No rendering, no addresses.
(() => {
  const typing = () => /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName || "");
  const rows = () => [...document.querySelectorAll("[data-row]")].filter((row) => row.offsetParent);
  const mark = (row) => {
    document.querySelector(".row-here")?.classList.remove("row-here");
    row.classList.add("row-here");
    row.scrollIntoView({ block: "nearest" });
    (row.matches("a") ? row : row.querySelector("a.row-link") || row.querySelector("a"))?.focus({ preventScroll: true });
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const found = document.getElementById("found");
    if (event.key === "Escape" && found) found.replaceChildren();
    if (typing()) return;
    if (event.key === "/") {
      const box = document.getElementById("find");
      if (box) { event.preventDefault(); box.focus(); box.select(); }
    } else if (event.key === "j" || event.key === "k") {
      const all = rows();
      const here = all.findIndex((row) => row.classList.contains("row-here"));
      const next = event.key === "j" ? Math.min(here + 1, all.length - 1) : Math.max(here - 1, 0);
      if (all[next]) { event.preventDefault(); mark(all[next]); }
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("[data-submit-with-ctrl-enter]")) {
      event.target.form.requestSubmit();
    }
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) {
      const source = document.querySelector(button.dataset.copy);
      const before = button.innerHTML;
      try {
        await navigator.clipboard.writeText(source.href || source.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select it and copy by hand";
      }
      setTimeout(() => { button.innerHTML = before; }, 2000);
    }
    const written = event.target.closest("[data-insert]");
    if (written) {
      const text = document.getElementById("text");
      text.setRangeText(written.dataset.insert, text.selectionStart, text.selectionEnd, "end");
      text.focus();
      event.preventDefault();
    }
    if (event.target.closest("[data-print]")) print();
    if (event.target.closest("#theme")) {
      const theme = document.documentElement.getAttribute("data-bs-theme") === "dark" ? "light" : "dark";
      localStorage.setItem("theme", theme);
      document.documentElement.setAttribute("data-bs-theme", theme);
    }
    const found = document.getElementById("found");
    if (found && !event.target.closest(".find")) found.replaceChildren();
  });

  // What was chosen before htmx was there, or kept by the browser over a reload, is not what the page shows yet.
  document.addEventListener("htmx:load", (event) => {
    for (const select of event.target.querySelectorAll('form[hx-trigger*="change from:find select"] select')) {
      const shown = [...select.options].find((option) => option.defaultSelected) || select.options[0];
      if (shown && !shown.selected) select.dispatchEvent(new Event("change", { bubbles: true }));
    }
  });

  // A tab that nobody looks at asks for nothing. (A filter in hx-trigger would need eval, which the policy forbids.)
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.target.hasAttribute("data-poll")) event.preventDefault();
  });

  const toast = (text) => {
    const note = document.createElement("div");
    note.className = "alert alert-danger";
    note.textContent = text;
    document.getElementById("toasts").replaceChildren(note);
    setTimeout(() => note.remove(), 8000);
  };
  document.addEventListener("htmx:sendError", () => toast("The console did not answer. Check your network; this page shows the last known state."));
  document.addEventListener("htmx:responseError", (event) => {
    const { xhr } = event.detail;
    if (xhr.getResponseHeader("HX-Redirect")) return;
    const problem = new DOMParser().parseFromString(xhr.responseText, "text/html").querySelector(".alert");
    toast(problem ? problem.textContent.trim().replace(/\s+/g, " ") : `That did not work (${xhr.status}). Reload the page and try again.`);
  });
})();
