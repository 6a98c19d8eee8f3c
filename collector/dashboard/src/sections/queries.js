/** Queries of a service or route: slow ones and repeated ones, each with the line that runs it. */

import { html } from "htm/preact";
import { href } from "../address.js";
import { LISTS, useAnswer } from "../answers.js";
import { Card } from "../parts/card.js";
import { CodeLine } from "../parts/evidence.js";
import { Answer, Empty } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { range } from "../range.js";
import { ago } from "../times.js";
import { t } from "../words.js";

export function Queries({ scope, span = 12 }) {
  const { environment, service, route } = scope;
  const answer = useAnswer("/slow-queries", { environment, service, route, ...range.value.parameters, limit: 50 }, { slower: LISTS });
  return html`<${Card} title=${t("queries.title")} sub=${t("queries.sub")} span=${span}>
    <${Answer} of=${answer} isEmpty=${(data) => !data.worst.length && !data.nPlusOne.length} empty=${t("queries.none")}>
      ${(data) => html`${data.nPlusOne.length > 0 && html`<h3>${t("queries.repeated")}</h3><${Repeated} rows=${data.nPlusOne} />`}
        ${data.worst.length > 0 ? html`<h3>${t("queries.slow")}</h3><${Slow} rows=${together(data.worst)} />` : html`<${Empty} text=${t("queries.noSlow")} />`}`}
    <//>
  <//>`;
}

/** Return one row for each query of a line: the slowest, and how many were seen. */
function together(rows) {
  const found = new Map();
  for (const row of rows) {
    const key = `${row.service} ${row.route} ${row.site} ${row.helper ? row.caller : ""} ${row.query}`;
    const before = found.get(key);
    if (before) before.seen += 1;
    else found.set(key, { ...row, seen: 1 });
  }
  return [...found.values()];
}

/** The line of the app to look at: of a helper that many callers share, the caller. */
const Site = ({ site, caller, helper }) =>
  helper && caller ? html`<${CodeLine} line=${caller} helper=${site} />` : html`<${CodeLine} line=${site} caller=${caller} />`;

const routeLink = (row) =>
  row.route !== null && row.route !== undefined && html`<a href=${href("route", { environment: row.environment, service: row.service, route: row.route, method: row.method })}><bdi>${row.method} ${row.route}</bdi></a>`;

function Repeated({ rows }) {
  const columns = [
    { key: "query", title: t("queries.query"), text: true, show: (row) => html`<code><bdi>${row.query}</bdi></code>` },
    { key: "site", title: t("queries.line"), text: true, show: (row) => html`<${Site} ...${row} />` },
    { key: "route", title: t("routes.route"), text: true, show: routeLink },
    { key: "most", title: t("queries.most") },
    { key: "longest", title: t("queries.longest"), unit: "ms" },
    { key: "requests", title: t("queries.seen") },
  ];
  return html`<${Table} label=${t("queries.repeated")} columns=${columns} rows=${rows} most=${8} />`;
}

function Slow({ rows }) {
  const columns = [
    { key: "query", title: t("queries.query"), text: true, show: (row) => html`<code><bdi>${row.query}</bdi></code>` },
    { key: "site", title: t("queries.line"), text: true, show: (row) => html`<${Site} ...${row} />` },
    { key: "route", title: t("routes.route"), text: true, show: (row) => routeLink(row) || "–" },
    { key: "duration", title: t("queries.took"), unit: "ms" },
    { key: "seen", title: t("queries.times") },
    { key: "at", title: t("queries.when"), show: (row) => html`<time title=${row.at}>${ago(row.at)}</time>` },
  ];
  return html`<${Table} label=${t("queries.slow")} columns=${columns} rows=${rows} most=${8} />`;
}
