/** What a rule would have done over the last seven days, asked while it is typed. */

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { ask } from "../api.js";
import { number, written } from "../figures.js";
import { Empty, Loading, saidOf } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { lastedFully, moment } from "../times.js";
import { named, t } from "../words.js";

const WAIT_MS = 500;

/** Return {state, data, error} for the body of a rule, half a second after its last change. */
export function usePreview(body) {
  const [found, setFound] = useState({ state: "loading" });
  const key = JSON.stringify(body);
  const lines = body.warning !== null || body.critical !== null;
  useEffect(() => {
    if (!body.metric || !lines) {
      setFound({ state: "none" });
      return undefined;
    }
    const stop = new AbortController();
    const timer = setTimeout(async () => {
      setFound((before) => ({ ...before, state: before.data ? "changing" : "loading" }));
      try {
        const data = await ask("/alert-configs/preview", { from: "-7d" }, { method: "POST", body, signal: stop.signal });
        setFound({ state: "ready", data });
      } catch (error) {
        if (error.name !== "AbortError") setFound({ state: "failed", error });
      }
    }, WAIT_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [key]);
  return found;
}

export function Preview({ preview: { state, data, error }, unit }) {
  if (state === "none") return html`<${Empty} text=${t("preview.none")} />`;
  if (state === "failed") return html`<p class="note warn" role="status">${saidOf(error)}</p>`;
  if (!data) return html`<${Loading} lines=${5} />`;
  const columns = [
    { key: "labels", title: t("alerts.what"), text: true, value: (row) => Object.values(row.labels).join(" ") || t("alerts.everything") },
    { key: "severity", title: t("rule.severity"), text: true, show: (row) => html`<i class=${`dot ${row.severity}`}></i>${named("severity", row.severity)}` },
    { key: "fired", title: t("alert.fired"), show: (row) => moment(row.fired) },
    { key: "duration", title: t("alerts.lasts"), show: (row) => (row.ended ? lastedFully(row.duration * 1000) : t("preview.stillFires")) },
    { key: "worst", title: t("alerts.worst"), show: (row) => written(row.worst, unit) },
  ];
  return html`<div class=${state === "changing" ? "changing answer" : "answer"}>
    <p class="said">${t("preview.said", { count: data.fired, number: number(data.fired), messages: number(data.messagesTotal), time: lastedFully(data.firingSeconds * 1000) })}</p>
    ${data.alerts.some((each) => !each.ended) && html`<p class="note warn">${t("preview.firing", { time: moment(data.alerts.find((each) => !each.ended).fired) })}</p>`}
    <p class=${data.messagesPerWeek === null ? "note" : "hint"}>${data.messagesPerWeek === null ? t("preview.littleData", { time: lastedFully(data.secondsWithData * 1000) }) : t("preview.perWeek", { number: number(data.messagesPerWeek) })}</p>
    ${data.alerts.length ? html`<${Table} label=${t("preview.title")} columns=${columns} rows=${data.alerts} leftOut=${data.alertsLeftOut} />` : html`<${Empty} text=${t("preview.quiet")} />`}
    <ul class="notes">${data.notes.map((note, index) => html`<li key=${index}>${note}</li>`)}</ul>
  </div>`;
}
