// Inside the widget's frame, which has no cookies and no access to the console: takes the token, hands the callback's payload up.
(() => {
  let home = null;
  const up = (message) => parent.postMessage(message, home || "*");
  const button = document.getElementById("peliqan-integration-button");
  addEventListener("message", (event) => {
    if (event.source !== parent || event.data?.console !== "initialize") return;
    home = event.origin;
    const { console: _, ...options } = event.data;
    if (!window.Peliqan) return up({ console: "problem", text: "The widget's script did not load. Its address, or a Content-Security-Policy, is in the way." });
    try {
      window.Peliqan.initialize({ ...options, onConnected: (payload) => up({ console: "connected", payload: JSON.parse(JSON.stringify(payload ?? null)) }) });
      button.disabled = false;
    } catch (error) {
      up({ console: "problem", text: `The widget refused to start: ${error.message}` });
    }
  });
  document.addEventListener("securitypolicyviolation", (event) => up({ console: "problem", text: `Blocked by the frame's policy: ${event.violatedDirective} ${event.blockedURI}` }));
  addEventListener("load", () => up({ console: "ready" }));
})();
