/**
 * The pages: name in the address, group in the navigation, who may see it, and what loads it.
 *
 * A page that is not in the navigation has no group; `below` says which entry is lit for it. To add a page,
 * write pages/NAME.js with a default component, a row here, and `page.NAME` in each language.
 */

export const PAGES = [
  { name: "", group: "main", load: () => import("../pages/overview.js") },
  { name: "services", group: "main", load: () => import("../pages/services.js") },
  { name: "service", below: "services", load: () => import("../pages/service.js") },
  { name: "route", below: "services", load: () => import("../pages/route.js") },
  { name: "requests", group: "main", load: () => import("../pages/requests.js") },
  { name: "request", below: "requests", load: () => import("../pages/request.js") },
  { name: "alerts", group: "main", load: () => import("../pages/alerts.js") },
  { name: "alert", below: "alerts", load: () => import("../pages/alert.js") },
  { name: "rules", below: "alerts", load: () => import("../pages/rules.js") },
  { name: "rule", below: "alerts", load: () => import("../pages/rule.js") },
  { name: "databases", group: "inside", load: () => import("../pages/databases.js") },
  { name: "caches", group: "inside", load: () => import("../pages/caches.js") },
  { name: "external", group: "inside", load: () => import("../pages/external.js") },
  { name: "queues", group: "inside", load: () => import("../pages/queues.js") },
  { name: "memory", group: "inside", load: () => import("../pages/memory.js") },
  { name: "hosts", group: "inside", load: () => import("../pages/hosts.js") },
  { name: "metrics", group: "inside", load: () => import("../pages/metrics.js") },
  { name: "advice", group: "ahead", load: () => import("../pages/advice.js") },
  { name: "objectives", group: "ahead", load: () => import("../pages/objectives.js") },
  { name: "reports", group: "ahead", load: () => import("../pages/reports.js") },
  { name: "thresholds", group: "setup", load: () => import("../pages/thresholds.js") },
  { name: "channels", group: "setup", load: () => import("../pages/channels.js") },
  { name: "agents", group: "setup", load: () => import("../pages/agents.js") },
  { name: "people", group: "setup", admin: true, load: () => import("../pages/people.js") },
  { name: "account", load: () => import("../pages/account.js") },
];

export const GROUPS = ["main", "inside", "ahead", "setup"];

/** Return the row of a page, or undefined. */
export const pageOf = (name) => PAGES.find((each) => each.name === name);

/** Return the key of a page's title. */
export const titleOf = (name) => `page.${name || "overview"}`;
