// Starts Peliqan's widget inside its frame. Loaded by embed/frame.html, which embed.js loads in an
// iframe. The frame has no cookies and no access to the console, so both sides exchange messages:
//   from the console: {console: "initialize", token, …}
//   to the console:   {console: "ready"}, {console: "connected", payload},
//                     {console: "problem", text}
(() => {
  const button = document.getElementById("peliqan-integration-button");
  // Known after the first message.
  let consoleOrigin = null;

  function sendToConsole(message) {
    parent.postMessage(message, consoleOrigin || "*");
  }

  function reportProblem(text) {
    sendToConsole({ console: "problem", text });
  }

  /** Sends what the widget passes to its callback. The JSON copy drops what cannot be posted. */
  function reportConnection(payload) {
    const copy = JSON.parse(JSON.stringify(payload ?? null));
    sendToConsole({ console: "connected", payload: copy });
  }

  function startWidget(options) {
    if (!window.Peliqan) {
      reportProblem(
        "The widget's script did not load. " +
          "Its address, or a Content-Security-Policy, is in the way.",
      );
      return;
    }
    try {
      window.Peliqan.initialize({ ...options, onConnected: reportConnection });
      button.disabled = false;
    } catch (error) {
      reportProblem(`The widget refused to start: ${error.message}`);
    }
  }

  addEventListener("message", (event) => {
    if (event.source !== parent || event.data?.console !== "initialize") {
      return;
    }
    consoleOrigin = event.origin;
    const { console: _, ...options } = event.data;
    startWidget(options);
  });

  document.addEventListener("securitypolicyviolation", (event) => {
    reportProblem(`Blocked by the frame's policy: ${event.violatedDirective} ${event.blockedURI}`);
  });

  addEventListener("load", () => sendToConsole({ console: "ready" }));
})();
