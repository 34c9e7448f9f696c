// The parent of the widget's frame: gives it the token, counts its time down, shows what the callback gets.
(() => {
  const box = document.getElementById("embed");
  const { externalId, connectors, selected, tokenUrl, connectedUrl, frameUrl, csrf } = box.dataset;
  if (!externalId) return;
  const left = document.getElementById("token-left");
  const origin = new URL(frameUrl, location.href).origin;
  const frame = document.createElement("iframe");
  let config = null;

  const say = (text) => {
    const note = document.createElement("div");
    note.className = "alert alert-danger";
    note.setAttribute("role", "alert");
    note.textContent = text;
    document.getElementById("embed-problem").replaceChildren(note);
  };
  const post = (url, fields) =>
    fetch(url, { method: "POST", body: new URLSearchParams(fields), headers: { "X-CSRFToken": csrf, "HX-Request": "true" } });
  const countDown = (end) => {
    const seconds = Math.max(0, Math.round((new Date(end) - Date.now()) / 1000));
    left.textContent = seconds
      ? `Token good for ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`
      : "The token has run out: reload the page";
    if (seconds) setTimeout(() => countDown(end), 1000);
  };
  // An opaque origin has no name to send to; the window is the one made here, and a second host is named.
  const send = () => frame.contentWindow.postMessage({ console: "initialize", ...config }, origin === location.origin ? "*" : origin);

  const start = async (create) => {
    const answer = await post(tokenUrl, { external_id: externalId, ...(create && { create: "yes" }) });
    const body = await answer.json();
    if (!answer.ok) return say(body.detail || "No token could be had.");
    config = { token: body.token, selectedConnector: selected || undefined };
    const names = JSON.parse(connectors);
    if (names.length) config.availableConnectors = names;
    countDown(body.expires_at);
    frame.title = "The widget, as the customer sees it";
    if (origin === location.origin) frame.setAttribute("sandbox", "allow-scripts allow-forms allow-popups allow-popups-to-escape-sandbox");
    frame.src = frameUrl;
    document.getElementById("embed-frame").replaceChildren(frame);
  };

  addEventListener("message", async (event) => {
    if (event.source !== frame.contentWindow) return;
    const { console: what, payload, text } = event.data || {};
    if (what === "ready") send();
    if (what === "problem") say(String(text).slice(0, 500));
    if (what !== "connected") return;
    const item = document.createElement("li");
    const shown = document.createElement("pre");
    shown.textContent = JSON.stringify(payload, null, 2).slice(0, 20000);
    item.append(new Date().toLocaleTimeString(), shown);
    document.getElementById("payloads").append(item);
    document.getElementById("no-payloads").hidden = true;
    const names = ["server_id", "serverId", "connection_id", "connectionId", "id"];
    const serverId = names.map((name) => payload?.[name]).find((value) => value !== undefined && value !== null);
    if (serverId === undefined) return;
    const answer = await post(connectedUrl, { external_id: externalId, server_id: serverId });
    if (answer.ok) document.getElementById("connected").outerHTML = await answer.text();
    else say("The console could not read the new connection yet.");
  });

  const create = document.getElementById("embed-create");
  if (create) create.addEventListener("click", () => { create.disabled = true; start(true); });
  else start(false);
})();
