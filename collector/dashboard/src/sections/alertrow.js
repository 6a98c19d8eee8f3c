/** Alerts in a table, and how one is said. */

import { html } from "htm/preact";
import { href } from "../address.js";
import { besideLine, written } from "../figures.js";
import { Dot } from "../parts/icons.js";
import { Table } from "../parts/table.js";
import { lasted, lastedFully, moment, now } from "../times.js";
import { named, t } from "../words.js";

const SHIPPED = /^(threshold\..*|slo|analysis)$/;
const OPERATORS = { gt: ">", gte: "≥", lt: "<", lte: "≤", eq: "=" };

/** Return what an alert is about: a service, a host, an agent. */
export function subjectOf(alert) {
  const { service, route, instance, labels } = alert;
  return [service, route, instance, labels.agent && !instance ? labels.agent : "", labels.slo, labels.part].filter(Boolean).join(" ") || alert.environment || t("alerts.everything");
}

export const metricText = (metric) => named("metric", metric);
/** The name that people gave a rule; those that are shipped are named by what they judge. */
export const ruleText = ({ ruleId, ruleName, metric }) => (SHIPPED.test(ruleId) ? metricText(metric) : ruleName);
/** The name of a rule that somebody made, in small: a threshold may judge the same. */
export const ownRule = (alert) => !SHIPPED.test(alert.ruleId) && html`<span class="sub2"><bdi>${alert.ruleName}</bdi></span>`;
/** Return the lines of an alert's rule, the milder first; where it has one, that one. */
export const linesText = (alert) => [alert.warning, alert.critical].filter((line) => line !== null).map((line) => lineText({ ...alert, threshold: line })).join(", ") || lineText(alert);
export const lineText = (alert) => `${OPERATORS[alert.operator] ?? alert.operator} ${written(alert.threshold, alert.unit)}`;

/** How old the last value of an open alert is, once nothing more arrives; else empty. */
export const lateText = (alert) => (alert.noData ? t("alerts.late", { age: lasted(now.value - Date.parse(alert.lastData)) }) : "");

/** The state by shape: firing alerts as they are severe, ended ones well. */
export function AlertDot({ alert }) {
  const over = alert.state === "resolved" || alert.state === "expired" || alert.resolvedAt;
  return html`<${Dot} state=${over ? "ok" : alert.firedAt ? alert.severity : "none"} label=${named("alertState", alert.state)} />`;
}

export function endedMs(alert) {
  return alert.resolvedAt ? Date.parse(alert.resolvedAt) : now.value;
}

/** How long an alert has lasted, in ms: since its line was crossed until it was good again, else until now. */
export function lastedMs(alert) {
  const ended = alert.recoveredAt ?? alert.resolvedAt;
  return Math.max(0, (ended ? Date.parse(ended) : now.value) - Date.parse(alert.since));
}

export function AlertTable({ alerts, leftOut = 0, sort = "sort" }) {
  const columns = [
    { key: "subject", title: t("alerts.what"), text: true, value: subjectOf, show: (row) => html`<${AlertDot} alert=${row} /><a href=${href("alert", { id: row.id })}><bdi>${subjectOf(row)}</bdi>: ${row.metadata?.title ?? metricText(row.metric)}</a>${ownRule(row)}${row.environment && html`<span class="sub2"><bdi>${row.environment}</bdi></span>`}` },
    { key: "value", title: t("alerts.value"), value: (row) => row.value, show: (row) => (row.metric === "analysis" ? "" : html`${besideLine(row.value, row.threshold, row.unit)} <span class="sub2">${t("alerts.line", { line: lineText(row) })}</span>`) },
    { key: "worst", title: t("alerts.worst"), value: (row) => row.worst, show: (row) => (row.metric === "analysis" ? "" : besideLine(row.worst, row.threshold, row.unit)) },
    { key: "state", title: t("alerts.state"), text: true, value: (row) => row.state, show: (row) => html`${named("alertState", row.state)}${lateText(row) && html` <span class="sub2">${lateText(row)}</span>`}${row.held && html` <span class="sub2">${named("held", row.held)}</span>`}${row.acknowledgedBy && html` <span class="sub2"><bdi>${t("alerts.takenBy", { name: row.acknowledgedBy })}</bdi></span>`}` },
    { key: "lasts", title: t("alerts.lasts"), value: lastedMs, show: (row) => lastedFully(lastedMs(row)) },
    { key: "since", title: t("alerts.since"), value: (row) => Date.parse(row.since), show: (row) => moment(row.since) },
  ];
  return html`<${Table} stack=${true} label=${t("page.alerts")} columns=${columns} rows=${alerts} sort=${sort} first="since" leftOut=${leftOut} rowKey=${(row) => row.id} />`;
}
