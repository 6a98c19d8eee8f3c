/** Servers that agents look at: whether they are up, and their gauges. */

import { html } from "htm/preact";
import { written } from "../figures.js";
import { Dot } from "../parts/icons.js";
import { Table } from "../parts/table.js";
import { named, straight, t } from "../words.js";

/** `columns` are [name of a gauge, key of its title, unit]; those that no target has are left out. */
export function Targets({ targets, columns, label }) {
  const used = columns.filter(([name]) => targets.some((each) => each.gauges[name] !== undefined));
  const isUp = (row) => row.gauges["trimtab.probe.up"];
  return html`<${Table} label=${label} rows=${targets} rowKey=${(row) => `${row.target} ${row.agent}`} columns=${[
    { key: "target", title: t("targets.target"), text: true, show: (row) => html`<${Dot} state=${isUp(row) === 0 ? "critical" : isUp(row) === 1 ? "ok" : "none"} label=${t(isUp(row) === 0 ? "targets.down" : "targets.up")} /><bdi>${row.target}</bdi>` },
    ...used.map(([name, title, unit]) => ({ key: name, title: t(title), value: (row) => row.gauges[name] ?? null, unit })),
    { key: "agent", title: t("targets.agent"), text: true },
  ]} />`;
}

export const REDIS = [
  ["redis.ping.duration", "redis.ping", "s"],
  ["redis.commands", "redis.commands", "perSecond"],
  ["redis.memory.used", "redis.memory", "bytes"],
  ["redis.maxmemory", "redis.maxmemory", "bytes"],
  ["redis.keyspace.hit_ratio", "redis.hitRatio", "ratio"],
  ["redis.keys", "redis.keys", "count"],
  ["redis.keys.evicted", "redis.evicted", "count"],
  ["redis.clients.connected", "redis.clients", "count"],
];

export const POSTGRESQL = [
  ["postgresql.backends", "pg.backends", "count"],
  ["postgresql.backends.active", "pg.active", "count"],
  ["postgresql.backends.waiting", "pg.waiting", "count"],
  ["postgresql.connection.max", "pg.most", "count"],
  ["postgresql.transaction.oldest", "pg.oldest", "s"],
  ["postgresql.cache.hit_ratio", "pg.hitRatio", "ratio"],
  ["postgresql.deadlocks", "pg.deadlocks", "count"],
  ["postgresql.db_size", "pg.size", "bytes"],
  ["postgresql.replication.lag", "pg.lag", "s"],
];

/** Return the texts of counts by type, the most frequent first; `group` has the texts of types that are known. */
export const errorsText = (errors, group = "") =>
  Object.entries(errors).sort((a, b) => b[1] - a[1]).map(([type, count]) => `${group ? named(group, type) : straight(type)} ${written(count, "count")}`).join(", ");
