// The rows of a table. Loaded by tables/rows.html. Every form and link works without this script;
// it only reads, and changes nothing on the server.
//
// Contents
//   1. Form that adds a condition
//   2. Menus and the choice of columns
//   3. Prefetched pages
//   4. Copy button of a cell
//   5. Rows and values that htmx loads
(() => {
  // 1. Form that adds a condition
  // ------------------------------------------------------------

  /** Offers only the comparisons in `allowed`; all of them if it is null or undefined. */
  function offerComparisons(select, allowed) {
    for (const option of select.options) {
      const isExcluded = Boolean(allowed) && !allowed.includes(option.value);
      option.disabled = isExcluded;
      option.hidden = isExcluded;
    }
    for (const group of select.querySelectorAll("optgroup")) {
      group.hidden = [...group.children].every((option) => option.hidden);
    }
    if (allowed && !allowed.includes(select.value)) {
      select.value = allowed[0];
    }
  }

  /** Makes the input fit the value that the comparison needs: a date, a text, or none. */
  function adaptValueInput(input, valueType) {
    input.type = valueType === "date" ? "date" : "text";
    input.disabled = !valueType;
    input.hidden = !valueType;
    input.placeholder = valueType === "boolean" ? "true or false" : "Value";
  }

  function updateConditionForm(form) {
    const { add_column: column, add_kind: comparison, add_value: value } = form.elements;
    const columnType = column.selectedOptions[0]?.dataset.type;
    // The option without a column has no type.
    const allowed = columnType === undefined ? null : JSON.parse(form.dataset.kinds)[columnType];
    offerComparisons(comparison, allowed);
    adaptValueInput(value, comparison.selectedOptions[0]?.dataset.takes);
  }

  document.addEventListener("change", (event) => {
    const form = event.target.closest(".rows-add");
    if (form) {
      updateConditionForm(form);
    }
  });

  // 2. Menus and the choice of columns
  // ------------------------------------------------------------

  /** Hides the columns whose name does not contain the text of the search field. */
  function filterColumns(searchField) {
    const text = searchField.value.trim().toLowerCase();
    for (const label of searchField.form.querySelectorAll(".form-check")) {
      label.hidden = !label.textContent.toLowerCase().includes(text);
    }
  }

  /** Selects all of the columns that are not hidden, or none of them. */
  function checkColumns(button) {
    for (const label of button.form.querySelectorAll(".form-check:not([hidden])")) {
      label.querySelector("input").checked = button.dataset.tick === "all";
    }
  }

  function closeOtherMenus(target) {
    for (const menu of document.querySelectorAll(".rows-menu[open]")) {
      if (!menu.contains(target)) {
        menu.open = false;
      }
    }
  }

  document.addEventListener("input", (event) => {
    if (event.target.matches("[data-find-column]")) {
      filterColumns(event.target);
    }
  });

  document.addEventListener("keydown", (event) => {
    // Enter in the search field does not submit the form around it.
    if (event.key === "Enter" && event.target.matches?.("[data-find-column]")) {
      event.preventDefault();
    }
    if (event.key === "Escape") {
      document.querySelector(".rows-menu[open]")?.removeAttribute("open");
    }
  });

  document.addEventListener("click", (event) => {
    closeOtherMenus(event.target);
    const checkButton = event.target.closest("[data-tick]");
    if (checkButton) {
      checkColumns(checkButton);
    }
  });

  // 3. Prefetched pages
  // ------------------------------------------------------------

  // The next or previous page is requested when the pointer or the focus reaches its link, because
  // Peliqan needs time to answer.

  // Milliseconds after which a prefetched page is out of date.
  const PREFETCH_LIFETIME = 20_000;
  // The last prefetched page, by address: when it was requested, and a promise of its HTML.
  const prefetched = new Map();

  /** Returns the link to the next or previous page that the event comes from, or null. */
  function pagerLink(event) {
    const links = "#list .pager a[rel=next], #list .pager a[rel=prev]";
    return event.target.closest?.(links);
  }

  /** Returns a promise of the page's HTML; null if it could not be loaded. */
  function fetchPage(url) {
    return fetch(url, { headers: { "HX-Request": "true" } }).then(
      (response) => (response.ok ? response.text() : null),
      () => null,
    );
  }

  function isFresh(page) {
    return Boolean(page) && Date.now() - page.requestedAt < PREFETCH_LIFETIME;
  }

  function prefetchPage(event) {
    const link = pagerLink(event);
    if (!link || isFresh(prefetched.get(link.href))) {
      return;
    }
    const page = { requestedAt: Date.now(), html: fetchPage(link.href) };
    prefetched.clear();
    prefetched.set(link.href, page);
  }

  async function showPrefetchedPage(url, page) {
    const html = await page.html;
    prefetched.delete(url);
    if (html === null) {
      location.assign(url);
      return;
    }
    htmx.swap("#list", html, { swapStyle: "outerHTML" });
    // htmx restores an entry of the history only if its state has this field.
    history.replaceState({ htmx: true }, "", location.href);
    history.pushState({ htmx: true }, "", url);
    scrollTo(0, 0);
  }

  document.addEventListener("mouseover", prefetchPage);
  document.addEventListener("focusin", prefetchPage);

  // In the capture phase, so that htmx does not request the page a second time.
  document.addEventListener(
    "click",
    (event) => {
      const link = pagerLink(event);
      const page = link && prefetched.get(link.href);
      const opensElsewhere = event.ctrlKey || event.metaKey || event.shiftKey;
      if (!isFresh(page) || opensElsewhere) {
        return;
      }
      event.preventDefault();
      event.stopImmediatePropagation();
      showPrefetchedPage(link.href, page);
    },
    true,
  );

  // 4. Copy button of a cell
  // ------------------------------------------------------------

  // Cells without a value, or with a value that is masked or cut.
  const NOT_COPIED = ".cell-masked, .cell-null, .cell-empty, .cell-muted, .cell-more";
  // One button for all cells, which moves to the cell under the pointer.
  const copyButton = document.createElement("button");
  copyButton.type = "button";
  copyButton.className = "cell-copy";

  function moveCopyButton(cell) {
    if (!cell.firstElementChild || cell.querySelector(NOT_COPIED)) {
      copyButton.remove();
      return;
    }
    copyButton.textContent = "Copy";
    cell.append(copyButton);
  }

  /** Returns the address of the link in a cell, else its text. */
  function cellText(cell) {
    const link = cell.querySelector("a:not(.cell-more)");
    const text = link?.href || cell.firstElementChild.textContent;
    return text.replace(/^mailto:/, "");
  }

  function showCopyResult(text) {
    copyButton.textContent = text;
  }

  document.addEventListener("mouseover", (event) => {
    const cell = event.target.closest?.(".rows td");
    if (cell && cell !== copyButton.parentElement) {
      moveCopyButton(cell);
    }
  });

  document.addEventListener("click", (event) => {
    if (!event.target.closest(".cell-copy")) {
      return;
    }
    navigator.clipboard.writeText(cellText(copyButton.parentElement)).then(
      () => showCopyResult("Copied"),
      () => showCopyResult("Copy by hand"),
    );
  });

  // 5. Rows and values that htmx loads
  // ------------------------------------------------------------

  // If the rows cannot be loaded, the error message replaces the waiting text. By default htmx does
  // not swap error pages in, so the page would wait for ever.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { detail } = event;
    if (!detail.target.matches("[data-fill]") || detail.xhr.status < 400) {
      return;
    }
    detail.shouldSwap = true;
    detail.isError = false;
    detail.selectOverride = ".alert";
    detail.swapOverride = "innerHTML";
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target?.id === "cell") {
      document.getElementById("cell-dialog").showModal();
    }
  });
})();
