/** Errors by exact status code, over time. */

import { html } from "htm/preact";
import { TABLES, useAnswer } from "../answers.js";
import { number } from "../figures.js";
import { Card } from "../parts/card.js";
import { Chart } from "../parts/chart.js";
import { Answer } from "../parts/states.js";
import { range, stepOf } from "../range.js";
import { named, t } from "../words.js";

/** Codes that are drawn, the most frequent first; the others are one line. */
const MOST = 5;
const COLOURS = ["crit", "warn", "second", "third", "edge", "accent"];

export function Statuses({ scope, span = 4 }) {
  const step = stepOf(range.value.seconds, 60);
  const answer = useAnswer("/status-codes", { ...scope, ...range.value.parameters, step }, { slower: TABLES });
  return html`<${Card} title=${t("statuses.title")} span=${span}>
    <${Answer} of=${answer} isEmpty=${(data) => !data.requests} empty=${t("latency.none")}>
      ${(data) => html`<${Codes} data=${data} />`}
    <//>
  <//>`;
}

const isTrouble = (code) => code >= "400" || !/^\d/.test(code);

function Codes({ data }) {
  const all = Object.entries(data.statusCodes);
  const wrong = all.filter(([code]) => isTrouble(code)).sort((a, b) => b[1] - a[1]);
  if (!wrong.length) return html`<p class="note good">${t("statuses.well", { count: data.requests, number: number(data.requests) })}</p>`;
  const rows = data.groups[0]?.series ?? [];
  const drawn = wrong.slice(0, MOST).map(([code]) => code);
  const series = drawn.map((code, index) => ({ key: code, title: code, kind: "line", colour: COLOURS[index], values: rows.map((row) => row.statusCodes[code] ?? 0) }));
  return html`<${Chart} label=${t("statuses.title")} unit="count" height=${150} times=${rows.map((row) => Date.parse(row.t))} series=${series} />
    <table><tbody>
      ${wrong.slice(0, MOST + 3).map(([code, count]) => html`<tr key=${code}><td class="text"><b>${code}</b> <span class="sub2">${codeName(code)}</span></td><td>${number(count)}</td><td>${number((count / data.requests) * 100, 2)} <small>%</small></td></tr>`)}
    </tbody></table>`;
}

function codeName(code) {
  const name = named("status", code);
  return name === code ? "" : name;
}
