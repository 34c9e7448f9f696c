// Behaviour that all pages share. Loaded by base.html, on every page. It renders no data and
// contains no address of the console: templates put both into the markup.
//
// Contents
//   1. Keyboard shortcuts
//   2. Search results of the search box on top
//   3. Buttons: copy, insert, print, theme
//   4. Filter forms of lists
//   5. Polling
//   6. Error messages
(() => {
  // 1. Keyboard shortcuts
  // ------------------------------------------------------------

  function isTyping() {
    return /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName || "");
  }

  function visibleRows() {
    const rows = [...document.querySelectorAll("[data-row]")];
    return rows.filter((row) => row.offsetParent);
  }

  /** Returns the link that Enter opens: the row itself, its main link or its first link. */
  function linkOfRow(row) {
    if (row.matches("a")) {
      return row;
    }
    return row.querySelector("a.row-link") || row.querySelector("a");
  }

  function highlightRow(row) {
    document.querySelector(".row-here")?.classList.remove("row-here");
    row.classList.add("row-here");
    row.scrollIntoView({ block: "nearest" });
    linkOfRow(row)?.focus({ preventScroll: true });
  }

  /** Highlights the next row (`step` 1) or the previous one (-1); the first if none is. */
  function moveHighlight(event, step) {
    const rows = visibleRows();
    const current = rows.findIndex((row) => row.classList.contains("row-here"));
    const row = rows[Math.max(0, Math.min(current + step, rows.length - 1))];
    if (row) {
      event.preventDefault();
      highlightRow(row);
    }
  }

  function focusSearchBox(event) {
    const box = document.getElementById("find");
    if (box) {
      event.preventDefault();
      box.focus();
      box.select();
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    if (event.key === "Escape") {
      closeSearchResults();
    }
    if (isTyping()) {
      return;
    }
    if (event.key === "/") {
      focusSearchBox(event);
    } else if (event.key === "j") {
      moveHighlight(event, 1);
    } else if (event.key === "k") {
      moveHighlight(event, -1);
    }
  });

  document.addEventListener("keydown", (event) => {
    const isCtrlEnter = event.key === "Enter" && (event.ctrlKey || event.metaKey);
    if (isCtrlEnter && event.target.matches("[data-submit-with-ctrl-enter]")) {
      event.target.form.requestSubmit();
    }
  });

  // 2. Search results of the search box on top
  // ------------------------------------------------------------

  function closeSearchResults() {
    document.getElementById("found")?.replaceChildren();
  }

  document.addEventListener("click", (event) => {
    if (!event.target.closest(".find")) {
      closeSearchResults();
    }
  });

  // 3. Buttons: copy, insert, print, theme
  // ------------------------------------------------------------

  /** Copies the link or the text of the element that data-copy selects. */
  async function copySource(button) {
    const source = document.querySelector(button.dataset.copy);
    const label = button.innerHTML;
    try {
      await navigator.clipboard.writeText(source.href || source.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy by hand";
    }
    setTimeout(() => {
      button.innerHTML = label;
    }, 2000);
  }

  /** Inserts the value of data-insert at the cursor of the SQL editor. */
  function insertIntoEditor(button) {
    const editor = document.getElementById("text");
    const { selectionStart, selectionEnd } = editor;
    editor.setRangeText(button.dataset.insert, selectionStart, selectionEnd, "end");
    editor.focus();
  }

  function toggleTheme() {
    const root = document.documentElement;
    const theme = root.getAttribute("data-bs-theme") === "dark" ? "light" : "dark";
    localStorage.setItem("theme", theme);
    root.setAttribute("data-bs-theme", theme);
  }

  document.addEventListener("click", (event) => {
    const copyButton = event.target.closest("[data-copy]");
    if (copyButton) {
      copySource(copyButton);
    }
    const insertButton = event.target.closest("[data-insert]");
    if (insertButton) {
      insertIntoEditor(insertButton);
      event.preventDefault();
    }
    if (event.target.closest("[data-print]")) {
      print();
    }
    if (event.target.closest("#theme")) {
      toggleTheme();
    }
  });

  // 4. Filter forms of lists
  // ------------------------------------------------------------

  /** Requests the list again if the select differs from the option that the server selected. */
  function applyChosenFilter(select) {
    const options = [...select.options];
    const applied = options.find((option) => option.defaultSelected) || options[0];
    if (applied && !applied.selected) {
      select.dispatchEvent(new Event("change", { bubbles: true }));
    }
  }

  // A select differs if the user changed it before htmx was loaded, or if the browser restored the
  // choice after a reload.
  document.addEventListener("htmx:load", (event) => {
    const form = 'form[hx-trigger*="change from:find select"]';
    for (const select of event.target.querySelectorAll(`${form} select`)) {
      applyChosenFilter(select);
    }
  });

  // 5. Polling
  // ------------------------------------------------------------

  // A hidden tab does not poll. (A filter in hx-trigger would need eval, which the
  // Content-Security-Policy forbids.)
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.target.hasAttribute("data-poll")) {
      event.preventDefault();
    }
  });

  // 6. Error messages
  // ------------------------------------------------------------

  /** Shows an error message for 8 seconds, in place of an earlier one. */
  function showToast(text) {
    const toast = document.createElement("div");
    toast.className = "alert alert-danger";
    toast.textContent = text;
    document.getElementById("toasts").replaceChildren(toast);
    setTimeout(() => toast.remove(), 8000);
  }

  /** Returns the text of the message box in an error page, or a general message. */
  function errorMessage(xhr) {
    const page = new DOMParser().parseFromString(xhr.responseText, "text/html");
    const messageBox = page.querySelector(".alert");
    if (!messageBox) {
      return `That did not work (${xhr.status}). Reload the page and try again.`;
    }
    return messageBox.textContent.trim().replace(/\s+/g, " ");
  }

  document.addEventListener("htmx:sendError", () => {
    showToast(
      "The console did not answer. Check your network; this page shows the last known state.",
    );
  });

  document.addEventListener("htmx:responseError", (event) => {
    const { xhr } = event.detail;
    // htmx follows this header, for example to the sign-in page.
    if (!xhr.getResponseHeader("HX-Redirect")) {
      showToast(errorMessage(xhr));
    }
  });
})();
