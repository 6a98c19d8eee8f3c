/** People, keys of agents, tokens of programs, and who changed what. For admins. */

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { change, query } from "../address.js";
import { renewAll, useAnswer } from "../answers.js";
import { ask } from "../api.js";
import { Card } from "../parts/card.js";
import { Dialog } from "../parts/dialog.js";
import { Field, listOf, numberOf, Said, Select, useSending } from "../parts/form.js";
import { Answer } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { range } from "../range.js";
import { deleting, placed, useConfirmed } from "../sections/confirmed.js";
import { person } from "../session.js";
import { moment } from "../times.js";
import { named, t } from "../words.js";

const TABS = ["users", "keys", "tokens", "audit"];

export default function People() {
  const tab = TABS.includes(query.value.tab) ? query.value.tab : "users";
  const Tab = { users: Users, keys: Keys, tokens: Tokens, audit: Audit }[tab];
  return html`<h1>${t("page.people")}</h1>
    <div class="tabs">${TABS.map((each) => html`<button key=${each} aria-pressed=${each === tab} onClick=${() => change({ tab: each }, { push: true })}>${t(`people.${each}`)}</button>`)}</div>
    <div class="grid"><${Tab} key=${tab} /></div>`;
}

function Users() {
  const answer = useAnswer("/users", {}, { everyMs: 30_000 });
  const [edited, setEdited] = useState(null);
  const { start, dialog, error, run } = useConfirmed();
  const able = (row) => run(() => ask(placed("/users", row.id), {}, { method: "PUT", body: { disabled: !row.disabled } })).then((found) => found && renewAll());
  const columns = [
    {
      key: "name",
      title: t("people.name"),
      text: true,
      show: (row) => html`<bdi>${row.name}</bdi>${row.id === person.value?.id && html`<span class="sub2">${t("people.you")}</span>`}${row.disabled && html`<span class="sub2">${t("people.disabled")}</span>`}`,
    },
    { key: "role", title: t("people.role"), text: true, value: (row) => named("role", row.role) },
    { key: "lastLogin", title: t("people.lastLogin"), show: (row) => (row.lastLogin ? moment(row.lastLogin) : "–") },
    { key: "created", title: t("people.created"), show: (row) => moment(row.created) },
    { key: "", title: "", show: (row) => html`<button class="quiet" onClick=${() => setEdited(row)}>${t("slo.edit")}</button>${row.id !== person.value?.id && html`<button class="quiet" onClick=${() => able(row)}>${t(row.disabled ? "people.enable" : "people.disable")}</button>
      <button class="quiet" onClick=${() => start({ title: t("people.delete"), text: t("people.deleteText", { name: row.name }), work: deleting("/users", row.id) })}>${t("people.delete")}</button>`}` },
  ];
  return html`<${Card} title=${t("people.users")} sub=${t("people.rolesSub")} tools=${html`<button class="button" onClick=${() => setEdited({})}>${t("people.add")}</button>`}>
    <${Said} error=${error} /><${Answer} of=${answer}>${(data) => html`<${Table} stack=${true} label=${t("people.users")} columns=${columns} rows=${data.users} rowKey=${(row) => row.id} />`}<//>
    ${edited && html`<${UserForm} user=${edited} close=${() => setEdited(null)} />`}${dialog}
  <//>`;
}

function UserForm({ user, close }) {
  const [draft, setDraft] = useState({ name: user.name ?? "", role: user.role ?? "planner", password: "" });
  const { busy, error, run } = useSending();
  const set = (name) => (value) => setDraft({ ...draft, [name]: value });
  async function submit(event) {
    event.preventDefault();
    const body = user.id ? { role: draft.role, ...(draft.password && { password: draft.password }) } : draft;
    if (await run(() => ask(user.id ? placed("/users", user.id) : "/users", {}, { method: user.id ? "PUT" : "POST", body }))) {
      renewAll();
      close();
    }
  }
  return html`<${Dialog} title=${user.name ?? t("people.add")} close=${close}><form onSubmit=${submit}>
    ${!user.id && html`<${Field} name=${t("people.name")} value=${draft.name} set=${set("name")} required=${true} autofocus=${true} autocomplete="off" />`}
    <${Select} name=${t("people.role")} value=${draft.role} set=${set("role")} options=${["planner", "admin"].map((each) => [each, t(`role.${each}`)])} hint=${t(`people.can.${draft.role}`)} />
    <${Field} name=${t(user.id ? "people.newPassword" : "signin.password")} value=${draft.password} set=${set("password")} type="password" autocomplete="new-password" required=${!user.id} hint=${t("people.passwordHint")} />
    <${Said} error=${error} /><div class="actions"><button class="button" disabled=${busy}>${t("rule.save")}</button></div>
  </form><//>`;
}

/** A secret that is shown this once. */
function Made({ text, hint, close }) {
  return html`<${Dialog} title=${t("people.once")} close=${close}><p>${t("people.onceText")}</p><pre class="secret"><code>${text}</code></pre><p class="hint">${hint}</p>
    <div class="actions"><button class="button" onClick=${() => navigator.clipboard?.writeText(text)}>${t("people.copy")}</button><button class="button plain" onClick=${close}>${t("dialog.close")}</button></div><//>`;
}

const scopeText = (row) => [...row.environments, ...row.services].join(", ") || t("people.all");

/** Return the work of giving a key to the next agent that writes with it. */
const freeing = (id) => () => ask(placed("/agent-keys", id), {}, { method: "PUT", body: { agents: [] } });

const agentText = (row) => row.agent || row.agents.join(", ") || t("people.firstAgent");

function Keys() {
  const answer = useAnswer("/agent-keys", {}, { everyMs: 30_000 });
  const [isNew, setNew] = useState(false);
  const [draft, setDraft] = useState({ name: "", agents: "", environments: "", services: "" });
  const [made, setMade] = useState(null);
  const { start, dialog, error, run } = useConfirmed();
  async function submit(event) {
    event.preventDefault();
    const body = { name: draft.name, agents: listOf(draft.agents), environments: listOf(draft.environments), services: listOf(draft.services) };
    const found = await run(() => ask("/agent-keys", {}, { method: "POST", body }));
    if (!found) return;
    setNew(false);
    setMade(found.key);
    renewAll();
  }
  const columns = [
    {
      key: "name",
      title: t("people.name"),
      text: true,
      show: (row) => html`<bdi>${row.name || row.id}</bdi>${row.revoked && html`<span class="sub2">${t("people.revoked")}</span>`}`,
    },
    { key: "agent", title: t("people.agent"), text: true, value: agentText },
    { key: "scope", title: t("people.scope"), text: true, value: scopeText },
    { key: "created", title: t("people.created"), show: (row) => moment(row.created) },
    {
      key: "",
      title: "",
      show: (row) => !row.revoked && html`${row.agent && html`<button class="quiet" onClick=${() => start({ title: t("people.rebind"), text: t("people.rebindKey", { name: row.name || row.id, agent: row.agent }), work: freeing(row.id) })}>${t("people.rebind")}</button>`}<button class="quiet" onClick=${() => start({ title: t("people.revoke"), text: t("people.revokeKey", { name: row.name || row.id }), work: deleting("/agent-keys", row.id) })}>${t("people.revoke")}</button>`,
    },
  ];
  return html`<${Card} title=${t("people.keys")} sub=${t("people.keysSub")} tools=${html`<button class="button" onClick=${() => setNew(true)}>${t("people.newKey")}</button>`}>
    <${Said} error=${error} /><${Answer} of=${answer} isEmpty=${(data) => !data.keys.length} empty=${t("people.noKeys")}>${(data) => html`<${Table} stack=${true} label=${t("people.keys")} columns=${columns} rows=${data.keys} rowKey=${(row) => row.id} />`}<//>
    ${isNew && html`<${Dialog} title=${t("people.newKey")} close=${() => setNew(false)}><form onSubmit=${submit}>
      <${Field} name=${t("people.name")} value=${draft.name} set=${(name) => setDraft({ ...draft, name })} autofocus=${true} />
      <${Field} name=${t("page.agents")} value=${draft.agents} set=${(agents) => setDraft({ ...draft, agents })} placeholder=${t("people.firstAgent")} hint=${t("people.agentsHint")} />
      <${Field} name=${t("people.environments")} value=${draft.environments} set=${(environments) => setDraft({ ...draft, environments })} placeholder=${t("people.all")} />
      <${Field} name=${t("page.services")} value=${draft.services} set=${(services) => setDraft({ ...draft, services })} placeholder=${t("people.all")} hint=${t("people.scopeHint")} />
      <${Said} error=${error} /><div class="actions"><button class="button">${t("people.newKey")}</button></div></form><//>`}
    ${made && html`<${Made} text=${made} hint=${`TRIMTAB_AGENT_KEY=… TRIMTAB_AGENT_COLLECTOR_URL=${location.origin} trimtab agent`} close=${() => setMade(null)} />`}${dialog}
  <//>`;
}

function Tokens() {
  const answer = useAnswer("/tokens", {}, { everyMs: 30_000 });
  const [isNew, setNew] = useState(false);
  const [draft, setDraft] = useState({ name: "", days: "" });
  const [made, setMade] = useState(null);
  const { start, dialog, error, run } = useConfirmed();
  async function submit(event) {
    event.preventDefault();
    const found = await run(() => ask("/tokens", {}, { method: "POST", body: { name: draft.name, days: numberOf(draft.days) } }));
    if (!found) return;
    setNew(false);
    setMade(found.token);
    renewAll();
  }
  const columns = [
    {
      key: "name",
      title: t("people.name"),
      text: true,
      show: (row) => html`<bdi>${row.name}</bdi>${row.revoked && html`<span class="sub2">${t("people.revoked")}</span>`}`,
    },
    { key: "origin", title: t("people.origin"), text: true, value: (row) => named("tokenOrigin", row.origin) },
    { key: "expires", title: t("people.expires"), show: (row) => (row.expires ? moment(row.expires) : t("people.never")) },
    { key: "lastUsed", title: t("people.lastUsed"), show: (row) => (row.lastUsed ? moment(row.lastUsed) : "–") },
    {
      key: "",
      title: "",
      show: (row) => !row.revoked && html`<button class="quiet" onClick=${() => start({ title: t("people.revoke"), text: t("people.revokeToken", { name: row.name }), work: deleting("/tokens", row.id) })}>${t("people.revoke")}</button>`,
    },
  ];
  return html`<${Card} title=${t("people.tokens")} sub=${t("people.tokensSub")} tools=${html`<button class="button" onClick=${() => setNew(true)}>${t("people.newToken")}</button>`}>
    <${Said} error=${error} /><${Answer} of=${answer} isEmpty=${(data) => !data.tokens.length} empty=${t("people.noTokens")}>${(data) => html`<${Table} stack=${true} label=${t("people.tokens")} columns=${columns} rows=${data.tokens} rowKey=${(row) => row.id} />`}<//>
    ${isNew && html`<${Dialog} title=${t("people.newToken")} close=${() => setNew(false)}><form onSubmit=${submit}>
      <${Field} name=${t("people.name")} value=${draft.name} set=${(name) => setDraft({ ...draft, name })} required=${true} autofocus=${true} />
      <${Field} name=${t("people.days")} value=${draft.days} set=${(days) => setDraft({ ...draft, days })} inputmode="numeric" placeholder=${t("people.never")} />
      <${Said} error=${error} /><div class="actions"><button class="button">${t("people.newToken")}</button></div></form><//>`}
    ${made && html`<${Made} text=${made} hint="Authorization: Bearer …" close=${() => setMade(null)} />`}${dialog}
  <//>`;
}

function Audit() {
  const answer = useAnswer("/audit", { ...range.value.parameters, limit: 200 }, { everyMs: 30_000 });
  const columns = [
    { key: "at", title: t("queries.when"), text: true, show: (row) => moment(row.at) },
    { key: "by", title: t("people.by"), text: true },
    { key: "action", title: t("people.action"), text: true, show: (row) => html`<code>${row.action}</code>` },
    { key: "subject", title: t("people.subject"), text: true },
    { key: "changed", title: t("people.changed"), text: true, show: (row) => html`<small><bdi>${changedText(row)}</bdi></small>` },
  ];
  return html`<${Card} title=${t("people.audit")}><${Answer} of=${answer} isEmpty=${(data) => !data.entries.length} empty=${t("people.noAudit")}>
    ${(data) => html`<${Table} label=${t("people.audit")} columns=${columns} rows=${data.entries} leftOut=${data.leftOut} rowKey=${(row) => row.id} />`}<//><//>`;
}

/** Return what differs between before and after. */
function changedText({ before, after }) {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  const shown = (value) => (value === undefined || value === null ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));
  return names.filter((name) => JSON.stringify(before?.[name]) !== JSON.stringify(after?.[name])).map((name) => `${name}: ${before ? `${shown(before[name])} → ` : ""}${shown(after?.[name])}`).join("; ").slice(0, 400);
}
