// The checkbox in the table head that selects all rows of the page for a bulk job. Loaded by
// connections/connections.html. Without this script the rows are selected one by one.
(() => {
  /** Returns the checkboxes of the rows in the table of the "select all" checkbox. */
  function rowCheckboxes(selectAll) {
    return [...selectAll.closest("table").querySelectorAll("input[name=c]")];
  }

  function selectAllRows(selectAll) {
    for (const checkbox of rowCheckboxes(selectAll)) {
      checkbox.checked = selectAll.checked;
    }
  }

  /** Shows in the "select all" checkbox whether all, some or none of the rows are selected. */
  function updateSelectAll(selectAll) {
    const checkboxes = rowCheckboxes(selectAll);
    const count = checkboxes.filter((checkbox) => checkbox.checked).length;
    selectAll.checked = count === checkboxes.length;
    selectAll.indeterminate = count > 0 && !selectAll.checked;
  }

  // One listener on the document, because htmx replaces the table.
  document.addEventListener("change", (event) => {
    const selectAll = event.target.closest("table")?.querySelector("[data-tick-all]");
    if (!selectAll) {
      return;
    }
    if (event.target === selectAll) {
      selectAllRows(selectAll);
    } else if (event.target.name === "c") {
      updateSelectAll(selectAll);
    }
  });
})();
