// What the page does to the gateway: each is asked for once more, and told what came of it.

import { element } from "./dom.js";
import { post, put, token } from "./client.js";

const dialog = document.getElementById("dialog");

/** Asks by a form; gives its fields, or nothing when it was dismissed. */
function form(title, fields, confirm) {
  const inputs = fields.map(({ name, label, ...attributes }) =>
    element("label", {}, label, element("input", { name, autocomplete: "off", spellcheck: "false", ...attributes })),
  );
  const cancel = element("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const asked = element(
    "form",
    { method: "dialog" },
    element("h2", {}, title),
    inputs,
    element("menu", {}, cancel, element("button", { value: "yes" }, confirm)),
  );
  dialog.replaceChildren(asked);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((answered) => {
    const ended = () => answered(dialog.returnValue === "yes" ? Object.fromEntries(new FormData(asked)) : undefined);
    dialog.addEventListener("close", ended, { once: true });
  });
}

export async function signIn() {
  const hint = "Token (kept in this tab; empty signs out)";
  const fields = await form("Sign in", [{ name: "secret", label: hint, type: "password" }], "Sign in");
  if (fields) token.set(fields.secret.trim());
  return Boolean(fields);
}

export async function reload() {
  if (await form("Read the configuration again?", [], "Reload")) return post("api/reload");
}

/** `swap`, `promote`, `rollback` or `reset`. */
export async function act(action, plugin) {
  const path = `api/plugins/${encodeURIComponent(plugin.name)}`;
  if (action !== "swap") {
    const titles = { promote: "Promote what is on trial of", rollback: "Roll back", reset: "Follow the configuration again with" };
    return (await form(`${titles[action]} ${plugin.name}?`, [], "Yes")) && post(`${path}/${action}`);
  }
  const fields = await form(
    `Swap ${plugin.name}`,
    [
      { name: "source", label: "Source (builtin:NAME, file:PATH of the gateway's machine, https://…)", required: true, value: plugin.source },
      { name: "canary", label: "Share of the requests in percent; empty swaps at once", inputmode: "decimal" },
      { name: "reason", label: "Reason, for the record" },
    ],
    "Swap",
  );
  if (!fields) return undefined;
  const query = fields.canary.trim() ? `?canary=${encodeURIComponent(fields.canary.trim())}` : "";
  const reason = fields.reason.trim() ? { reason: fields.reason.trim() } : {};
  return put(`${path}${query}`, { source: fields.source.trim(), ...reason });
}
