/** This range beside an earlier one, or a version beside another: the figures, then why. */

import { html } from "htm/preact";
import { change, href, query } from "../address.js";
import { CAUSES, LISTS, useAnswer } from "../answers.js";
import { signed, written } from "../figures.js";
import { Card } from "../parts/card.js";
import { Figure } from "../parts/figure.js";
import { Answer } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { range } from "../range.js";
import { locale, named, t } from "../words.js";

const AGAINST = ["previous", "day", "week", "range"];
const FIGURES = [
  ["requestsPerSecond", "perSecond"],
  ["p50", "ms"],
  ["p95", "ms"],
  ["p99", "ms"],
  ["errorRate", "ratio"],
  ["apdex", "score"],
];
/** More is worse of these, and less of that. */
const WORSE = { p50: 1, p95: 1, p99: 1, errorRate: 1, apdex: -1, requestsPerSecond: 0 };

/** Return what the address says about the other side, for /compare and /explain. */
function otherSide() {
  const { against, againstFrom, againstTo, a, b } = query.value;
  if (a && b) return { field: "version", a, b };
  if (against === "range") return againstFrom && againstTo ? { againstFrom, againstTo } : { against: "previous" };
  return { against: AGAINST.includes(against) ? against : "previous" };
}

export function Versus({ scope, versions = [], span = 12 }) {
  const other = otherSide();
  const asked = { ...scope, ...range.value.parameters, ...other, limit: 12 };
  // Two versions are compared by themselves, not within one of them.
  if (other.field) delete asked.version;
  const compared = useAnswer("/compare", asked, { slower: LISTS });
  const explained = useAnswer("/explain", { ...asked, lang: locale.value }, { slower: CAUSES });
  return html`<${Card} title=${t("versus.title")} span=${span} tools=${html`<${Choice} versions=${versions} />`}>
    <div class="grid">
      <div class="span-5"><${Answer} of=${compared}>${(data) => html`<${Sides} data=${data} />`}<//></div>
      <div class="span-7"><${Answer} of=${explained}>${(data) => html`<${Why} data=${data} />`}<//></div>
    </div>
    <${Answer} of=${compared}>${(data) => html`<${Routes} data=${data} scope=${scope} />`}<//>
  <//>`;
}

function Choice({ versions }) {
  const { against = "previous", againstFrom = "", againstTo = "", a = "", b = "" } = query.value;
  const chosen = a && b ? "version" : AGAINST.includes(against) ? against : "previous";
  function choose(event) {
    const value = event.target.value;
    if (value === "version") change({ against: "", againstFrom: "", againstTo: "", a: versions.at(-2), b: versions.at(-1) }, { push: true });
    else change({ against: value, a: "", b: "" }, { push: true });
  }
  return html`<span class="versus-choice">
    <label class="pick"><small>${t("versus.with")}</small><select value=${chosen} onChange=${choose}>
      ${AGAINST.map((each) => html`<option key=${each} value=${each}>${t(`versus.against.${each}`)}</option>`)}
      ${versions.length > 1 && html`<option value="version">${t("versus.against.version")}</option>`}
    </select></label>
    ${chosen === "range" && html`<input class="field" aria-label=${t("range.from")} placeholder="-2d" value=${againstFrom} maxlength="40" onChange=${(event) => change({ againstFrom: event.target.value.trim() })} />
      <input class="field" aria-label=${t("range.to")} placeholder="-1d" value=${againstTo} maxlength="40" onChange=${(event) => change({ againstTo: event.target.value.trim() })} />`}
    ${chosen === "version" && ["a", "b"].map((side) => html`<label key=${side} class="pick"><small>${t(`versus.${side}`)}</small><select value=${side === "a" ? a : b} onChange=${(event) => change({ [side]: event.target.value })}>
      ${versions.map((each) => html`<option key=${each} value=${each}>${each || t("versus.noVersion")}</option>`)}</select></label>`)}
  </span>`;
}

function Sides({ data }) {
  const { a, b, difference, change: shares, enough } = data.overall;
  const rows = FIGURES.map(([name, unit]) => ({ name, unit, a: a?.[name] ?? null, b: b?.[name] ?? null, difference: difference?.[name] ?? null, share: shares?.[name] ?? null }));
  const ofVersions = query.value.a && query.value.b;
  const columns = [
    { key: "name", title: "", text: true, show: (row) => named("figure", row.name) },
    { key: "a", title: ofVersions ? query.value.a : t("versus.a"), show: (row) => html`<${Figure} value=${row.a} unit=${row.unit} />` },
    { key: "b", title: ofVersions ? query.value.b : t("versus.b"), show: (row) => html`<${Figure} value=${row.b} unit=${row.unit} />` },
    {
      key: "share",
      title: t("versus.change"),
      show: (row) => html`<span class=${enough ? judged(row.name, row.difference, row.share) : ""}>${row.unit === "ratio" ? signed(row.difference, "points") : signed(row.share)}</span>`,
    },
  ];
  return html`<${Table} label=${t("versus.title")} columns=${columns} rows=${rows} rowKey=${(row) => row.name} />
    ${!enough && html`<p class="hint">${t("versus.few", { count: data.minRequests })}</p>`}`;
}

/** Only what is out of the ordinary has a colour: a tenth, or half a point of errors. */
function judged(name, difference, share) {
  const size = name === "errorRate" ? Math.abs(difference ?? 0) / 0.005 : Math.abs(share ?? 0) / 0.1;
  if (size < 1 || !WORSE[name]) return "";
  return Math.sign(difference) === WORSE[name] ? "bad" : "good";
}

function Why({ data }) {
  const causes = data.causes.filter((each) => Math.abs(each.difference) >= 0.05).sort((x, y) => Math.abs(y.difference) - Math.abs(x.difference));
  const most = Math.max(...causes.map((each) => Math.abs(each.difference)), 0.1);
  return html`<ul class="notes">${data.notes.map((note, index) => html`<li key=${index}>${note}</li>`)}</ul>
    ${causes.map(
      (each) => html`<div class="cause" key=${each.cause}><span>${t(`part.${each.cause}`)}</span>
        <span class="track"><i class=${each.cause} style=${{ width: `${(Math.abs(each.difference) / most) * 100}%`, opacity: each.difference < 0 ? 0.35 : 1 }}></i></span>
        <b>${signed(each.difference, "ms")}</b></div>`,
    )}
    ${data.statements.length > 0 && html`<h3>${t("versus.statements")}</h3><ul class="plain">${data.statements.slice(0, 3).map((each) => html`<li key=${each.what}><code><bdi>${each.what}</bdi></code> <small>${signed(each.difference, "ms")} ${t("versus.perRequest")}</small></li>`)}</ul>`}`;
}

function Routes({ data, scope }) {
  if (!data.routes.length || scope.route) return null;
  const columns = [
    {
      key: "route",
      title: t("routes.route"),
      text: true,
      show: (row) => html`<a href=${href("route", { ...scope, service: row.service, environment: row.environment, route: row.route, method: row.method })}><bdi>${row.method} ${row.route}</bdi></a>`,
    },
    { key: "a", title: `p95 ${t("versus.a")}`, value: (row) => row.a?.p95 ?? null, unit: "ms" },
    { key: "b", title: `p95 ${t("versus.b")}`, value: (row) => row.b?.p95 ?? null, unit: "ms" },
    {
      key: "change",
      title: t("versus.change"),
      value: (row) => row.change?.p95 ?? null,
      show: (row) => html`<span class=${row.enough ? judged("p95", row.difference?.p95, row.change?.p95) : "none"}>${signed(row.change?.p95)}</span>`,
    },
    { key: "requests", title: t("routes.requests"), value: (row) => row.b?.requests ?? null, show: (row) => written(row.b?.requests, "count") },
  ];
  return html`<h3>${t("versus.routes")}</h3><${Table} label=${t("versus.routes")} columns=${columns} rows=${data.routes} leftOut=${data.routesLeftOut} rowKey=${(row) => `${row.service} ${row.method} ${row.route}`} />`;
}
