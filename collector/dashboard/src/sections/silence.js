/** Silences: what is not told for a while. */

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { renewAll } from "../answers.js";
import { ask } from "../api.js";
import { Dialog } from "../parts/dialog.js";
import { Field, Said, Select, useSending } from "../parts/form.js";
import { Table } from "../parts/table.js";
import { isAdmin } from "../session.js";
import { moment } from "../times.js";
import { named, t } from "../words.js";

const DURATIONS = ["30m", "2h", "8h", "1d", "7d"];
const MATCHED = ["environment", "service", "route", "instance", "version", "metric", "rule", "severity", "agent", "slo"];

/** Return what silences an alert: its rule and every label it has. */
export function matchersOf(alert) {
  return { rule: alert.ruleId, ...Object.fromEntries(Object.entries(alert.labels).filter(([name, value]) => MATCHED.includes(name) && value)) };
}

/** A form for a silence that begins with `matchers`; `made` is called when there is one. */
export function NewSilence({ matchers: first, close, made }) {
  const [matchers, setMatchers] = useState(first);
  const [duration, setDuration] = useState("2h");
  const [comment, setComment] = useState("");
  const { busy, error, run } = useSending();
  async function submit(event) {
    event.preventDefault();
    const chosen = Object.fromEntries(Object.entries(matchers).filter(([, value]) => value));
    if (await run(() => ask("/silences", {}, { method: "POST", body: { matchers: chosen, duration, comment } }))) {
      renewAll();
      close();
      made?.();
    }
  }
  return html`<${Dialog} title=${t("silence.new")} close=${close}>
    <form onSubmit=${submit}>
      <p class="hint">${t("silence.hint")}</p>
      <div class="columns">${MATCHED.filter((name) => name in matchers || ["service", "metric", "severity"].includes(name)).map((name) => html`<${Field} key=${name} name=${named("field", name)} value=${matchers[name]} set=${(value) => setMatchers({ ...matchers, [name]: value })} />`)}</div>
      <${Select} name=${t("silence.for")} value=${duration} set=${setDuration} options=${DURATIONS.map((each) => [each, t(`silence.duration.${each}`)])} />
      <${Field} name=${t("silence.why")} value=${comment} set=${setComment} required=${true} />
      <${Said} error=${error} />
      <div class="actions"><button class="button" disabled=${busy}>${t("silence.make")}</button></div>
    </form>
  <//>`;
}

export function SilenceTable({ silences }) {
  const { error, run } = useSending();
  const columns = [
    { key: "matchers", title: t("silence.what"), text: true, show: (row) => html`<bdi>${Object.entries(row.matchers).map(([name, value]) => `${named("field", name)} ${(name === "rule" && row.ruleName) || value}`).join(", ")}</bdi>` },
    { key: "comment", title: t("silence.why"), text: true },
    { key: "state", title: t("alerts.state"), text: true, show: (row) => named("silenceState", row.state) },
    { key: "endsAt", title: t("silence.ends"), show: (row) => moment(row.endsAt) },
    { key: "createdBy", title: t("silence.by"), text: true },
    { key: "", title: "", show: (row) => isAdmin.value && row.state !== "expired" && html`<button class="quiet" onClick=${() => run(() => ask(`/silences/${encodeURIComponent(row.id)}`, {}, { method: "DELETE" })).then(renewAll)}>${t("silence.end")}</button>` },
  ];
  return html`<${Said} error=${error} /><${Table} stack=${true} label=${t("alerts.silences")} columns=${columns} rows=${silences} rowKey=${(row) => row.id} />`;
}
