/** Korean. A file per part of the page; keys are those of words/en. */

import admin from "./ko/admin.json";
import alerts from "./ko/alerts.json";
import inside from "./ko/inside.json";
import overview from "./ko/overview.json";
import parts from "./ko/parts.json";
import service from "./ko/service.json";
import shell from "./ko/shell.json";

export default { ...admin, ...alerts, ...inside, ...overview, ...parts, ...service, ...shell };
