/** Reports of days and weeks: what they say first, and the whole page of one. */

import { html } from "htm/preact";
import { change, query } from "../address.js";
import { useAnswer } from "../answers.js";
import { fetchedText } from "../api.js";
import { besideLine, signed, written } from "../figures.js";
import { Card } from "../parts/card.js";
import { Said, useSending } from "../parts/form.js";
import { Answer, Empty } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Tile } from "../parts/tile.js";
import { zone } from "../settings.js";
import { lastedFully, moment, now } from "../times.js";
import { locale, named, t } from "../words.js";

const today = () => new Intl.DateTimeFormat("sv-SE", { timeZone: zone.value, dateStyle: "short" }).format(now.peek());

export default function Reports() {
  const { environment, service, period = "daily", date } = query.value;
  const asked = { environment, service, period, date: date || today(), tz: zone.value, lang: locale.value };
  const answer = useAnswer("/report", asked, { everyMs: 0 });
  return html`<div class="title"><h1>${t("page.reports")}</h1>
      <label class="pick"><small>${t("report.period")}</small><select value=${period} onChange=${(event) => change({ period: event.target.value }, { push: true })}>${["daily", "weekly"].map((each) => html`<option key=${each} value=${each}>${t(`report.${each}`)}</option>`)}</select></label>
      <label class="pick"><small>${t("report.date")}</small><input type="date" class="bare-field" value=${date || today()} max=${today()} onChange=${(event) => change({ date: event.target.value }, { push: true })} /></label>
      <${Whole} asked=${asked} /></div>
    <${Answer} of=${answer} lines=${10}>${(data) => html`<${Report} data=${data} />`}<//>`;
}

/** The page of a report for keeping, printing and sending: it has no address of its own that a browser may open. */
function Whole({ asked }) {
  const { busy, error, run } = useSending();
  const save = () => run(async () => {
    const text = await fetchedText("/report", { ...asked, format: "html" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/html" }));
    link.download = `trimtab-${asked.period}-${asked.date}.html`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
  return html`<button class="button plain" disabled=${busy} onClick=${save}>${t("report.save")}</button><${Said} error=${error} />`;
}

const CHANGED = { p95: 1, p99: 1, errorRate: 1 };

function Report({ data }) {
  const { now: figures, change: changes } = data;
  const kpi = (row) => html`<span class=${row.status === "fail" ? "bad" : row.status === "pass" ? "good" : ""}>${named("kpiStatus", row.status)}</span>`;
  return html`${data.summary.map((text, index) => (index ? html`<p key=${index} class="lede">${text}</p>` : html`<p key=${index} class="said">${text}</p>`))}
    ${!data.complete && html`<p class="hint">${t("report.incomplete")}</p>`}
    <div class="tiles">
      ${[["requests", "count"], ["p50", "ms"], ["p95", "ms"], ["p99", "ms"], ["errorRate", "ratio"], ["apdex", "score"]].map(([name, unit]) => html`<${Tile} key=${name} name=${named("figure", name)} value=${figures?.[name] ?? null} unit=${unit}
        below=${name === "errorRate" && Number.isFinite(figures?.errorRate) && Number.isFinite(data.before?.errorRate) ? html`<span>${signed(figures.errorRate - data.before.errorRate, "points")} ${t("report.toBefore")}</span>` : Number.isFinite(changes?.[name]) ? html`<span class=${CHANGED[name] && Math.abs(changes[name]) >= 0.1 ? (changes[name] > 0 ? "bad" : "good") : ""}>${signed(changes[name])} ${t("report.toBefore")}</span>` : ""} />`)}
    </div>
    <div class="grid">
      <${Card} title=${t("slo.title")} span=${6}>${data.slos.length ? html`<${Table} label=${t("slo.title")} rows=${data.slos} columns=${[
        { key: "name", title: t("slo.promise"), text: true },
        { key: "requests", title: t("routes.requests") },
        { key: "bad", title: t("report.bad") },
        { key: "left", title: t("slo.left"), value: (row) => row.budget.left, unit: "ratio" },
      ]} />` : html`<${Empty} text=${t("slo.none")} />`}<//>
      <${Card} title=${t("kpi.title")} span=${6}><${Table} stack=${true} label=${t("kpi.title")} rows=${data.kpis} columns=${[
        { key: "name", title: t("kpi.name"), text: true, show: (row) => html`${named("kpiName", row.name)}<span class="sub2 how">${row.how}</span>` },
        { key: "value", title: t("metrics.value"), show: (row) => html`<span title=${row.note ?? row.how}>${besideLine(row.value, row.target, row.unit)}</span>` },
        { key: "target", title: t("slo.target"), show: (row) => written(row.target, row.unit) },
        { key: "status", title: t("alerts.state"), text: true, show: kpi },
      ]} /><//>
      <${Card} title=${t("routes.title")}><${Table} label=${t("routes.title")} rows=${data.routes} leftOut=${data.routesLeftOut} columns=${[
        { key: "route", title: t("routes.route"), text: true, value: (row) => `${row.method} ${row.route}` },
        { key: "service", title: t("services.service"), text: true },
        { key: "p95", title: "p95", unit: "ms" },
        { key: "p95Before", title: t("versus.a"), unit: "ms" },
        { key: "change", title: t("versus.change"), show: (row) => signed(row.change) },
        { key: "timeShare", title: t("routes.share"), unit: "ratio" },
      ]} /><//>
      <${Card} title=${t("page.alerts")} span=${6}>${data.alerts.length ? html`<${Table} label=${t("page.alerts")} rows=${data.alerts} leftOut=${data.alertsLeftOut} columns=${[
        { key: "title", title: t("alerts.what"), text: true, show: (row) => html`<i class=${`dot ${row.severity}`}></i><bdi>${row.title}</bdi>` },
        { key: "since", title: t("alerts.since"), show: (row) => moment(row.since) },
        { key: "seconds", title: t("alerts.lasts"), show: (row) => lastedFully(row.seconds * 1000) },
      ]} />` : html`<${Empty} text=${t("report.noAlerts")} />`}<//>
      <${Card} title=${t("report.uptime")} span=${6}>${data.uptime.length ? html`<${Table} label=${t("report.uptime")} rows=${data.uptime} leftOut=${data.uptimeLeftOut} columns=${[
        { key: "service", title: t("services.service"), text: true },
        { key: "share", title: t("report.up"), show: (row) => (row.share === null ? "–" : written(row.share, "ratio", 5)) },
        { key: "downSeconds", title: t("report.down"), show: (row) => html`${lastedFully(row.downSeconds * 1000)}${[...new Set(row.outages.map((each) => each.kind))].map((kind) => html` <span class="sub2">${named("outage", kind)}</span>`)}` },
        { key: "slowSeconds", title: t("report.slow"), show: (row) => lastedFully(row.slowSeconds * 1000) },
      ]} />` : html`<${Empty} text=${t("latency.none")} />`}<//>
    </div>
    ${data.notes.length > 0 && html`<ul class="notes">${data.notes.map((note, index) => html`<li key=${index}>${note}</li>`)}</ul>`}`;
}
