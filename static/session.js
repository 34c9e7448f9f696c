// Leaves when the session is over: by time, and at once when another tab of this browser is signed out. Nothing goes into storage.
(() => {
  const { signIn, idle, lasts } = document.body.dataset;
  // Another console may be below another path of this host.
  const tabs = new BroadcastChannel(`session of ${document.documentElement.dataset.root}`);
  if (!signIn) {
    if (document.querySelector("[data-signed-out]")) {
      // htmx keeps the address that a tab was at.
      sessionStorage.clear();
      tabs.postMessage("left");
    }
    return;
  }

  const ends = Date.now() + lasts * 1000;
  let over;
  let timer;
  const blank = () => {
    document.title = "Partner Console";
    sessionStorage.clear();
    document.body.replaceChildren();
  };
  const leave = () => {
    blank();
    location.replace(signIn);
  };
  const look = () => {
    if (Date.now() >= over) leave();
  };
  const used = () => {
    over = Math.min(Date.now() + idle * 1000, ends);
    clearTimeout(timer);
    timer = setTimeout(look, over - Date.now() + 1000);
  };

  tabs.addEventListener("message", ({ data }) => {
    if (data === "used") used();
    if (data === "left") leave();
    if (data === "leaving") {
      // The console may not have ended it yet, and would show its overview again; or it does not answer, and nobody says more.
      blank();
      setTimeout(leave, 3000);
    }
  });
  document.addEventListener("submit", (event) => {
    if (event.target.hasAttribute("data-leaves")) tabs.postMessage("leaving");
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.target.hasAttribute("data-poll")) return;
    used();
    tabs.postMessage("used");
  });
  // Time stands still while a computer sleeps.
  document.addEventListener("visibilitychange", look);
  used();
  tabs.postMessage("used");
})();
