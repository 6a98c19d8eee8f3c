/** Agents: which send, which are silent, what they hold and dropped. */

import { html } from "htm/preact";
import { query } from "../address.js";
import { useAnswer } from "../answers.js";
import { number, written } from "../figures.js";
import { Card } from "../parts/card.js";
import { CsvButton } from "../parts/csv.js";
import { Said } from "../parts/form.js";
import { Dot } from "../parts/icons.js";
import { Answer } from "../parts/states.js";
import { rowsOf, Table } from "../parts/table.js";
import { deleting, useConfirmed } from "../sections/confirmed.js";
import { Chosen } from "../sections/opening.js";
import { isAdmin } from "../session.js";
import { ago, lasted, moment } from "../times.js";
import { named, t } from "../words.js";

const STATES = { sending: "ok", silent: "critical", gone: "gone" };

export default function Agents() {
  const { agent } = query.value;
  const answer = useAnswer("/agents", { limit: 1000 }, { everyMs: 10_000 });
  const health = useAnswer("/health", {}, { everyMs: 30_000 });
  const { start, dialog, error } = useConfirmed();
  const dismiss = (name) => start({ title: t("agents.dismiss"), text: t("agents.dismissText", { name }), work: deleting("/agents", name) });
  const columns = [
    {
      key: "name",
      title: t("agents.agent"),
      text: true,
      show: (row) => html`<${Dot} state=${STATES[row.state]} label=${named("agentState", row.state)} /><bdi>${row.host ?? row.name}</bdi><span class="sub2"><bdi>${row.name}</bdi></span>`,
    },
    { key: "services", title: t("page.services"), text: true, value: (row) => row.services.join(", ") },
    { key: "version", title: t("field.version"), text: true, value: (row) => row.version ?? "–" },
    {
      key: "lastSeen",
      title: t("agents.lastSeen"),
      value: (row) => Date.parse(row.lastSeen),
      show: (row) => html`<time title=${moment(row.lastSeen)}>${ago(row.lastSeen)}</time>`,
    },
    { key: "points", title: t("agents.points"), show: (row) => number(row.points) },
    {
      key: "dropped",
      title: t("agents.dropped"),
      value: (row) => sum(row.dropped),
      show: (row) => html`<span class=${sum(row.dropped) ? "warn" : ""} title=${counted(row.dropped)}>${number(sum(row.dropped))}</span>`,
    },
    {
      key: "refused",
      title: t("agents.refused"),
      value: (row) => sum(row.refused) + sum(row.overQuota),
      show: (row) => html`<span class=${sum(row.refused) + sum(row.overQuota) ? "warn" : ""} title=${counted({ ...row.refused, ...row.overQuota })}>${number(sum(row.refused) + sum(row.overQuota))}</span>`,
    },
    { key: "spoolBytes", title: t("agents.held"), unit: "bytes" },
    { key: "memory", title: t("memory.rss"), unit: "bytes" },
    {
      key: "clockSkewSeconds",
      title: t("agents.clock"),
      show: (row) => (row.clockSkewSeconds === null ? "–" : html`<span class=${Math.abs(row.clockSkewSeconds) > 5 ? "warn" : ""}>${row.clockSkewSeconds < 0 ? "−" : "+"}${lasted(Math.abs(row.clockSkewSeconds) * 1000)}</span>`),
    },
    { key: "key", title: t("agents.key"), text: true, value: (row) => row.key ?? "–" },
    {
      key: "",
      title: "",
      show: (row) => isAdmin.value && row.state !== "sending" && html`<button class="quiet" onClick=${() => dismiss(row.name)}>${t("agents.dismiss")}</button>`,
    },
  ];
  return html`<h1>${t("page.agents")}</h1><p class="lede">${t("agents.lede")}</p><${Chosen} scope=${query.value} fields=${["agent"]} /><${Said} error=${error} />
    <div class="grid">
      <${Card} title=${t("page.agents")} tools=${html`<${CsvButton} name="agents" rows=${() => rowsOf(columns.slice(0, -1), answer.value.data?.agents ?? [])} />`}>
        <${Answer} of=${answer} lines=${5} isEmpty=${(data) => !chosenOf(data.agents, agent).length} empty=${agent ? t("agents.notThere", { name: agent }) : t("agents.none")}>
          ${(data) => html`<${Table} label=${t("page.agents")} columns=${columns} rows=${chosenOf(data.agents, agent)} sort="sort" first="lastSeen" leftOut=${agent ? 0 : data.agentsLeftOut} rowKey=${(row) => row.name} />`}
        <//>
      <//>
      ${answer.value.data?.refusals.length ? html`<${Card} title=${t("agents.refusals")} sub=${t("agents.refusalsLede")}><${Refusals} rows=${answer.value.data.refusals} /><//>` : null}
      <${Card} title=${t("agents.collector")} sub=${t("agents.itself")}><${Answer} of=${health}>${(data) => html`<${Collector} health=${data} />`}<//><//>
    </div>
    ${dialog}`;
}

const chosenOf = (agents, name) => (name ? agents.filter((each) => each.name === name) : agents);

const counted = (counts) => Object.entries(counts).map(([reason, count]) => `${reason} ${number(count)}`).join(", ");

const sum = (counts) => Object.values(counts).reduce((all, each) => all + each, 0);

/** Requests of agents that were refused: whose they are, and why. */
function Refusals({ rows }) {
  const columns = [
    { key: "agent", title: t("agents.agent"), text: true, value: (row) => row.agent ?? "–" },
    { key: "keyId", title: t("agents.key"), text: true, value: (row) => row.keyId ?? "–" },
    { key: "count", title: t("agents.times"), show: (row) => number(row.count) },
    {
      key: "last",
      title: t("agents.last"),
      value: (row) => Date.parse(row.last),
      show: (row) => html`<time title=${moment(row.last)}>${ago(row.last)}</time>`,
    },
    { key: "message", title: t("agents.why"), text: true, show: (row) => html`<bdi>${row.code}</bdi><span class="sub2"><bdi>${row.message}</bdi></span>` },
  ];
  return html`<${Table} label=${t("agents.refusals")} columns=${columns} rows=${rows} sort="sort-refusals" first="last" rowKey=${(row) => `${row.code} ${row.keyId} ${row.agent}`} />`;
}

/** The collector's own health: a part that is troubled says why. */
function Collector({ health }) {
  const troubles = Object.entries(health).filter(([, part]) => part?.trouble).map(([name, part]) => [name, part.trouble]);
  const { store } = health;
  return html`<p><${Dot} state=${health.status === "healthy" ? "ok" : "critical"} />${t(health.status === "healthy" ? "agents.healthy" : "agents.degraded")}</p>
    ${troubles.map(([name, why]) => html`<p key=${name} class="note bad"><b>${name}</b> <bdi>${why}</bdi></p>`)}
    <dl class="facts">
      <dt>${t("agents.uptime")}</dt><dd>${lasted(health.uptime * 1000)}</dd>
      <dt>${t("memory.rss")}</dt><dd>${written(health.memory?.used, "bytes")}</dd>
      <dt>${t("agents.series")}</dt><dd>${number(store.series)}</dd>
      ${Object.entries(store.tiers ?? {}).map(([tier, each]) => html`<dt key=${tier}>${t("agents.tier", { tier })}</dt><dd>${written(each.bytes, "bytes")} <small>${t("agents.files", { count: each.files })}</small></dd>`)}
    </dl>`;
}
