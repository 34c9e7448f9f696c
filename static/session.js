// Ends the session in the browser: clears the page and opens the sign-in page when the session
// expires, and when the user signs out in another tab. Loaded by base.html, on every page.
// The tabs of one browser exchange messages over a BroadcastChannel; nothing is stored.
(() => {
  // Pages without a signed-in user have no data-sign-in. `idle` and `lasts` are in seconds.
  const { signIn, idle, lasts } = document.body.dataset;
  // The path is part of the name, because another console may run below another path of this host.
  const tabs = new BroadcastChannel(`session of ${document.documentElement.dataset.root}`);

  /** Reports the end of the session to the other tabs, on a page that follows it. */
  function announceSignOut() {
    if (!document.querySelector("[data-signed-out]")) {
      return;
    }
    // htmx stores the address of the current page in sessionStorage.
    sessionStorage.clear();
    tabs.postMessage("left");
  }

  if (!signIn) {
    announceSignOut();
    return;
  }

  const sessionEnd = Date.now() + lasts * 1000;
  let expiresAt;
  let timer;

  function clearPage() {
    document.title = "Partner Console";
    sessionStorage.clear();
    document.body.replaceChildren();
  }

  function leave() {
    clearPage();
    location.replace(signIn);
  }

  function leaveIfExpired() {
    if (Date.now() >= expiresAt) {
      leave();
    }
  }

  /** Restarts the idle time; the session ends at `sessionEnd` in any case. */
  function extendSession() {
    expiresAt = Math.min(Date.now() + idle * 1000, sessionEnd);
    clearTimeout(timer);
    // One second of margin, so that the session has expired when the timer fires.
    timer = setTimeout(leaveIfExpired, expiresAt - Date.now() + 1000);
  }

  /** Restarts the idle time in this tab and in the others. */
  function reportUse() {
    extendSession();
    tabs.postMessage("used");
  }

  tabs.addEventListener("message", ({ data }) => {
    if (data === "used") {
      extendSession();
    } else if (data === "left") {
      leave();
    } else if (data === "leaving") {
      clearPage();
      // Wait, because the server may not have ended the session yet: the sign-in page would then
      // redirect to the overview. If the server does not answer, no "left" message follows.
      setTimeout(leave, 3000);
    }
  });

  document.addEventListener("submit", (event) => {
    if (event.target.hasAttribute("data-leaves")) {
      tabs.postMessage("leaving");
    }
  });

  document.addEventListener("htmx:afterRequest", (event) => {
    // Polling is not use: otherwise an open page would never expire.
    if (!event.target.hasAttribute("data-poll")) {
      reportUse();
    }
  });

  // Timers do not run while a computer sleeps.
  document.addEventListener("visibilitychange", leaveIfExpired);

  reportUse();
})();
