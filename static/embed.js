// The widget preview. Creates the iframe of the widget, passes it a token, shows how long the token
// is valid, and shows the payload of the widget's callback. Loaded by embed/preview.html.
// embed-frame.js is the script inside the iframe; it lists the messages between both.
//
// Contents
//   1. Starting the widget
//   2. Messages from the frame
(() => {
  const { externalId, connectors, selected, tokenUrl, connectedUrl, frameUrl, csrf } =
    document.getElementById("embed").dataset;
  // No customer is chosen yet.
  if (!externalId) {
    return;
  }

  const SANDBOX = "allow-scripts allow-forms allow-popups allow-popups-to-escape-sandbox";
  // Names under which a widget may report the id of the new connection.
  const ID_FIELDS = ["server_id", "serverId", "connection_id", "connectionId", "id"];
  const createButton = document.getElementById("embed-create");
  const frame = document.createElement("iframe");
  const frameOrigin = new URL(frameUrl, location.href).origin;
  const isSameOrigin = frameOrigin === location.origin;
  let widgetOptions = null;

  function showProblem(text) {
    const messageBox = document.createElement("div");
    messageBox.className = "alert alert-danger";
    messageBox.setAttribute("role", "alert");
    messageBox.textContent = text;
    document.getElementById("embed-problem").replaceChildren(messageBox);
  }

  function post(url, fields) {
    return fetch(url, {
      method: "POST",
      body: new URLSearchParams(fields),
      headers: { "X-CSRFToken": csrf, "HX-Request": "true" },
    });
  }

  // 1. Starting the widget
  // ------------------------------------------------------------

  /** Shows the time until `expiresAt` (an ISO 8601 time) and updates it every second. */
  function showTimeLeft(expiresAt) {
    const timeLeft = document.getElementById("token-left");
    const total = Math.max(0, Math.round((new Date(expiresAt) - Date.now()) / 1000));
    if (!total) {
      timeLeft.textContent = "The token has run out: reload the page";
      return;
    }
    const minutes = Math.floor(total / 60);
    const seconds = String(total % 60).padStart(2, "0");
    timeLeft.textContent = `Token good for ${minutes}:${seconds}`;
    setTimeout(() => showTimeLeft(expiresAt), 1000);
  }

  function loadFrame() {
    frame.title = "The widget, as the customer sees it";
    if (isSameOrigin) {
      frame.setAttribute("sandbox", SANDBOX);
    }
    frame.src = frameUrl;
    document.getElementById("embed-frame").replaceChildren(frame);
  }

  /** Requests a token and loads the frame. `create` lets the server create the account first. */
  async function startPreview(create) {
    const fields = { external_id: externalId };
    if (create) {
      fields.create = "yes";
    }
    const response = await post(tokenUrl, fields);
    const body = await response.json();
    if (!response.ok) {
      showProblem(body.detail || "No token could be had.");
      return;
    }
    widgetOptions = { token: body.token, selectedConnector: selected || undefined };
    const connectorNames = JSON.parse(connectors);
    if (connectorNames.length) {
      widgetOptions.availableConnectors = connectorNames;
    }
    showTimeLeft(body.expires_at);
    loadFrame();
  }

  // 2. Messages from the frame
  // ------------------------------------------------------------

  function sendWidgetOptions() {
    // A sandboxed frame has an opaque origin, which cannot be named as the receiver. The window is
    // the one created here. A frame on a host of its own is named.
    const receiver = isSameOrigin ? "*" : frameOrigin;
    frame.contentWindow.postMessage({ console: "initialize", ...widgetOptions }, receiver);
  }

  function showPayload(payload) {
    const item = document.createElement("li");
    const json = document.createElement("pre");
    json.textContent = JSON.stringify(payload, null, 2).slice(0, 20000);
    item.append(new Date().toLocaleTimeString(), json);
    document.getElementById("payloads").append(item);
    document.getElementById("no-payloads").hidden = true;
  }

  /** Returns the id of the new connection, or undefined if the payload has none. */
  function connectionId(payload) {
    const values = ID_FIELDS.map((name) => payload?.[name]);
    return values.find((value) => value !== undefined && value !== null);
  }

  /** Lets the server read the new connection and shows the result. */
  async function showConnection(id) {
    const response = await post(connectedUrl, { external_id: externalId, server_id: id });
    if (!response.ok) {
      showProblem("The console could not read the new connection yet.");
      return;
    }
    document.getElementById("connected").outerHTML = await response.text();
  }

  async function handleConnected(payload) {
    showPayload(payload);
    const id = connectionId(payload);
    if (id !== undefined) {
      await showConnection(id);
    }
  }

  addEventListener("message", (event) => {
    if (event.source !== frame.contentWindow) {
      return;
    }
    const { console: type, payload, text } = event.data || {};
    if (type === "ready") {
      sendWidgetOptions();
    } else if (type === "problem") {
      showProblem(String(text).slice(0, 500));
    } else if (type === "connected") {
      handleConnected(payload);
    }
  });

  // An account that does not exist at Peliqan is created only after a click.
  if (createButton) {
    createButton.addEventListener("click", () => {
      createButton.disabled = true;
      startPreview(true);
    });
  } else {
    startPreview(false);
  }
})();
