/** Channels: by which people are told, and what was sent. */

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { renewAll, useAnswer } from "../answers.js";
import { ask } from "../api.js";
import { LANGUAGES } from "../languages.js";
import { Card } from "../parts/card.js";
import { Dialog } from "../parts/dialog.js";
import { Check, Field, listOf, numberOf, Said, Select, useSending } from "../parts/form.js";
import { Dot } from "../parts/icons.js";
import { Answer } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { range } from "../range.js";
import { deleting, placed, useConfirmed } from "../sections/confirmed.js";
import { isAdmin } from "../session.js";
import { moment } from "../times.js";
import { named, t } from "../words.js";

/** What each kind asks for: [setting, type]. Secrets that are left out stay as they are. */
const KINDS = {
  smtp: [["host"], ["port", "number"], ["security", "choice", ["starttls", "tls", "none"]], ["username"], ["password", "secret"], ["sender"], ["to", "list"]],
  slack: [["url", "secret"]],
  webhook: [["url", "secret"], ["format", "choice", ["trimtab", "pagerduty", "discord", "teams"]], ["secret", "secret"], ["authorization", "secret"], ["routing_key", "secret"]],
  alertmanager: [["url"], ["authorization", "secret"]],
};

export default function Channels() {
  const answer = useAnswer("/channels", {}, { everyMs: 30_000 });
  const [edited, setEdited] = useState(null);
  const [tested, setTested] = useState({});
  const { start, dialog, error } = useConfirmed();
  const remove = (name) => start({ title: t("slo.remove"), text: t("channel.removeText", { name }), work: deleting("/channels", name) });
  async function test(name) {
    setTested((before) => ({ ...before, [name]: { busy: true } }));
    try {
      const found = await ask(`${placed("/channels", name)}/test`, {}, { method: "POST", body: {} });
      setTested((before) => ({ ...before, [name]: found }));
      renewAll();
    } catch (problem) {
      setTested((before) => ({ ...before, [name]: { delivered: false, error: problem.message } }));
    }
  }
  const columns = [
    {
      key: "name",
      title: t("channel.name"),
      text: true,
      show: (row) => html`<${Dot} state=${stateOf(row)} /><bdi>${row.name}</bdi>${saidOfChannel(row)}<${Tested} result=${tested[row.name]} />`,
    },
    { key: "kind", title: t("channel.kind"), text: true, value: (row) => named("channelKind", row.kind) },
    { key: "target", title: t("channel.target"), text: true },
    { key: "severity", title: t("channel.from"), text: true, value: (row) => named("severity", row.settings.severity) },
    {
      key: "test",
      title: "",
      show: (row) => isAdmin.value && html`<button class="quiet" onClick=${() => test(row.name)}>${t("channel.test")}</button>`,
    },
    {
      key: "",
      title: "",
      show: (row) => isAdmin.value && row.origin !== "file" && html`${KINDS[row.kind] && html`<button class="quiet" onClick=${() => setEdited(row)}>${t("slo.edit")}</button>`}<button class="quiet" onClick=${() => remove(row.name)}>${t("slo.remove")}</button>`,
    },
  ];
  return html`<div class="title"><h1>${t("page.channels")}</h1>${isAdmin.value && html`<button class="button" onClick=${() => setEdited({ kind: "smtp", settings: {} })}>${t("channel.new")}</button>`}</div>
    <p class="lede">${t("channel.lede")}</p><${Said} error=${error} />
    <div class="grid">
      <${Card} title=${t("page.channels")}><${Answer} of=${answer} isEmpty=${(data) => !data.channels.length} empty=${t("channel.none")}>
        ${(data) => html`<${Table} stack=${true} label=${t("page.channels")} columns=${columns} rows=${data.channels} rowKey=${(row) => row.name} />`}<//><//>
      <${Deliveries} />
    </div>
    ${edited && html`<${Editor} channel=${edited} close=${() => setEdited(null)} />`}
    ${dialog}`;
}

function stateOf(row) {
  if (row.settings.enabled === false) return "quiet";
  return row.trouble || row.failing ? "critical" : "ok";
}

/** Why a channel cannot be used, else since when its messages do not get through. */
function saidOfChannel({ trouble, failing }) {
  const said = trouble ?? (failing && t("channel.failing", { time: moment(failing.since), error: failing.error }));
  return said && html`<br /><small class="bad"><bdi>${said}</bdi></small>`;
}

function Tested({ result }) {
  if (!result) return null;
  if (result.busy) return html`<br /><small>${t("channel.testing")}</small>`;
  if (result.delivered) return html`<br /><small class="good">${t("channel.delivered", { ms: Math.round(result.milliseconds) })}</small>`;
  return html`<br /><small class="bad"><bdi>${t("channel.notDelivered", { error: result.error })}</bdi></small>`;
}

function Editor({ channel, close }) {
  const isNew = !channel.name;
  const [name, setName] = useState(channel.name ?? "");
  const [kind, setKind] = useState(channel.kind);
  const [draft, setDraft] = useState(Object.fromEntries(Object.entries(channel.settings).map(([key, value]) => [key, Array.isArray(value) ? value.join(", ") : value])));
  const { busy, error, run } = useSending();
  const set = (key) => (value) => setDraft({ ...draft, [key]: value });
  async function submit(event) {
    event.preventDefault();
    const settings = settingsOf(draft, KINDS[kind]);
    const sent = isNew ? ask("/channels", {}, { method: "POST", body: { name, kind, settings } }) : ask(placed("/channels", name), {}, { method: "PUT", body: { settings } });
    if (await run(() => sent)) {
      renewAll();
      close();
    }
  }
  return html`<${Dialog} title=${isNew ? t("channel.new") : channel.name} close=${close}><form onSubmit=${submit}>
    ${isNew && html`<div class="columns"><${Select} name=${t("channel.kind")} value=${kind} set=${setKind} options=${Object.keys(KINDS).map((each) => [each, named("channelKind", each)])} />
      <${Field} name=${t("channel.name")} value=${name} set=${setName} required=${true} autofocus=${true} /></div>`}
    <div class="columns">${KINDS[kind].map(([key, type, choices]) =>
      type === "choice"
        ? html`<${Select} key=${key} name=${named("setting", key)} value=${draft[key] ?? choices[0]} set=${set(key)} options=${choices.map((each) => [each, each])} />`
        : html`<${Field} key=${key} name=${named("setting", key)} value=${type === "secret" && draft[key] === channel.settings[key] ? "" : draft[key]} set=${set(key)} type=${type === "secret" ? "password" : "text"} autocomplete="off" maxlength="2000" placeholder=${type === "secret" && channel.settings[key] ? t("channel.kept") : ""} />`,
    )}
      <${Select} name=${t("channel.from")} value=${draft.severity ?? "warning"} set=${set("severity")} options=${["warning", "critical"].map((each) => [each, t(`severity.${each}`)])} />
      <${Select} name=${t("channel.lang")} value=${draft.lang ?? "en"} set=${set("lang")} options=${Object.entries(LANGUAGES).map(([each, { name: text }]) => [each, text])} />
      <${Field} name=${t("viewer.zone")} value=${draft.tz ?? "UTC"} set=${set("tz")} />
    </div>
    <${Check} name=${t("channel.default")} value=${draft.default ?? true} set=${set("default")} />
    <${Said} error=${error} /><div class="actions"><button class="button" disabled=${busy}>${t("rule.save")}</button></div>
  </form><//>`;
}

/** Return the settings that the API takes: lists and numbers as such, secrets only where one was typed. */
function settingsOf(draft, kinds) {
  const settings = { severity: draft.severity ?? "warning", lang: draft.lang ?? "en", tz: draft.tz || "UTC", default: draft.default ?? true };
  for (const [key, type, choices] of kinds) {
    const value = draft[key] ?? (type === "choice" ? choices[0] : "");
    if (value === "" || value === "set") continue;
    settings[key] = type === "list" ? listOf(value) : type === "number" ? numberOf(value) : value;
  }
  return settings;
}

const DELIVERED = { sent: "ok", pending: "none", dead: "critical", merged: "quiet", skipped: "quiet" };

function Deliveries() {
  const answer = useAnswer("/deliveries", { ...range.value.parameters, limit: 100 }, { everyMs: 10_000 });
  return html`<${Card} title=${t("channel.sent")} sub=${t("channel.sentSub")}><${Answer} of=${answer} isEmpty=${(data) => !data.deliveries.length} empty=${t("channel.nothingSent")}>
    ${(data) => html`<${Table} label=${t("channel.sent")} rows=${data.deliveries} leftOut=${data.deliveriesLeftOut} rowKey=${(row) => row.id} columns=${[
      {
        key: "subject",
        title: t("alerts.what"),
        text: true,
        show: (row) => html`<${Dot} state=${DELIVERED[row.state]} label=${named("delivered", row.state)} /><bdi>${row.subject}</bdi>`,
      },
      { key: "kind", title: t("channel.message"), text: true, value: (row) => named("noticeKind", row.kind) },
      { key: "channel", title: t("channel.name"), text: true },
      {
        key: "state",
        title: t("alerts.state"),
        text: true,
        show: (row) => html`${named("delivered", row.state)}${row.error && html`<br /><small><bdi>${row.error}</bdi></small>`}`,
      },
      { key: "attempts", title: t("channel.attempts") },
      { key: "added", title: t("queries.when"), show: (row) => moment(row.done ?? row.added) },
    ]} />`}<//><//>`;
}
