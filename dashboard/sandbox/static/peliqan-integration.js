// A widget compatible with the one that Peliqan's embedding page describes: initialize(), the modal, the five methods.
const base = new URL(import.meta.url).origin;

const call = async (path, { token, scheme = "JWT", ...options } = {}) => {
  const answer = await fetch(base + path, { ...options, headers: { "Content-Type": "application/json", Authorization: `${scheme} ${token}` } });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail || body.error || `HTTP ${answer.status}`);
  return body;
};

const make = (tag, attributes = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
};

const style = `
  .pq-dialog { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; color: CanvasText; background: Canvas; border: 1px solid GrayText; border-radius: 10px; padding: 1.25rem; width: min(26rem, 90vw); }
  .pq-dialog::backdrop { background: rgb(0 0 0 / .5); }
  .pq-dialog h2 { margin: 0 0 .75rem; font-size: 1.15rem; }
  .pq-list { display: grid; gap: .4rem; max-height: 15rem; overflow: auto; margin: .75rem 0; }
  .pq-dialog button { font: inherit; padding: .45rem .8rem; border: 1px solid GrayText; border-radius: 6px; background: Canvas; color: CanvasText; cursor: pointer; text-align: left; }
  .pq-dialog button.pq-primary { background: #1a5ba8; border-color: #1a5ba8; color: #fff; }
  .pq-dialog input { font: inherit; width: 100%; box-sizing: border-box; padding: .45rem; margin-top: .25rem; }
  .pq-row { display: flex; gap: .5rem; justify-content: flex-end; margin-top: 1rem; }
  .pq-dialog :is(button, input):focus-visible { outline: 3px solid #2f7fd6; outline-offset: 2px; }
  .pq-error { color: light-dark(#b42318, #ff8a80); }
  .pq-error:empty { display: none; }`;

const open = async ({ token, availableConnectors, selectedConnector, onConnected }) => {
  const dialog = make("dialog", { className: "pq-dialog" });
  const error = make("p", { className: "pq-error" });
  error.setAttribute("role", "alert");
  const close = () => dialog.close();
  document.body.append(dialog);
  dialog.setAttribute("aria-label", "Add a connection");
  dialog.addEventListener("close", () => dialog.remove());
  const closing = () => make("div", { className: "pq-row" }, make("button", { type: "button", textContent: "Close", onclick: close }));
  let all = [];
  try {
    all = await (await fetch(`${base}/sandbox/widget/connectors/`)).json();
  } catch {
    error.textContent = "The list of connectors could not be loaded. Close this and try again.";
    dialog.replaceChildren(make("h2", { textContent: "Add a connection" }), error, closing());
    dialog.showModal();
    return;
  }
  const offered = availableConnectors?.length ? all.filter(({ name }) => availableConnectors.includes(name)) : all;

  const form = (connector) => {
    const input = make("input", { value: connector.title, required: true, maxLength: 100 });
    const submit = make("button", { className: "pq-primary", type: "submit", textContent: "Connect" });
    const fields = make("form", {}, make("h2", { textContent: `Connect ${connector.title}` }), make("label", {}, "Connection name", input), error,
      make("div", { className: "pq-row" }, make("button", { type: "button", textContent: "Close", onclick: close }), submit));
    fields.onsubmit = async (event) => {
      event.preventDefault();
      submit.disabled = true;
      error.textContent = "";
      try {
        const body = JSON.stringify({ connector: connector.name, name: input.value });
        const made = await call("/sandbox/widget/connections/", { method: "POST", token, body });
        close();
        onConnected?.(made);
      } catch (problem) {
        error.textContent = problem.message;
        submit.disabled = false;
      }
    };
    dialog.replaceChildren(fields);
    input.focus();
  };

  const list = () => {
    const search = make("input", { type: "search", placeholder: "Search connectors", ariaLabel: "Search connectors" });
    const buttons = make("div", { className: "pq-list" });
    const show = () => buttons.replaceChildren(...offered
      .filter(({ title }) => title.toLowerCase().includes(search.value.toLowerCase()))
      .map((connector) => make("button", { type: "button", textContent: `${connector.title} · ${connector.kind}`, onclick: () => form(connector) })));
    search.oninput = show;
    show();
    dialog.replaceChildren(make("h2", { textContent: "Add a connection" }), search, buttons, closing());
  };

  const chosen = offered.find(({ name }) => name === selectedConnector);
  if (chosen) form(chosen); else list();
  dialog.showModal();
};

const inNewTab = (url) => { if (url) window.open(url, "_blank", "noopener"); };

window.Peliqan = {
  initialize(options) {
    if (!options?.token) throw new Error("initialize() needs a token");
    if (!document.querySelector("style[data-peliqan]")) {
      const sheet = make("style", { textContent: style });
      sheet.dataset.peliqan = "";
      document.head.append(sheet);
    }
    const button = document.getElementById("peliqan-integration-button");
    if (button) button.onclick = () => open(options);
  },
  syncServer: ({ identityToken, serverId }) => call(`/api/servers/${serverId}/syncdb/?pipeline=true&is_async=true`, { token: identityToken }),
  async getServerHealthStatus({ identityToken, serverId }) {
    const { id, name, health_status } = await call(`/api/servers/${serverId}/`, { token: identityToken });
    return { id, name, health_status };
  },
  async getServerSyncRunStatus({ identityToken, serverId }) {
    const { running } = await call(`/api/servers/${serverId}/syncdb/status/`, { token: identityToken });
    return { running };
  },
  async reAuthoriseServer({ identityToken, serverId }) {
    const answer = await call(`/api/servers/${serverId}/reauthorise/`, { token: identityToken });
    inNewTab(answer.auth_uri);
    return answer;
  },
  async manualRefreshSaltEdge({ identityToken, serverId }) {
    const answer = await call(`/api/servers/${serverId}/saltedge-refresh/`, { token: identityToken });
    inNewTab(answer.url);
    return answer;
  },
};
