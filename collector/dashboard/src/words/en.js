/** English. A file per part of the page; keys are those of words/ko. */

import admin from "./en/admin.json";
import alerts from "./en/alerts.json";
import inside from "./en/inside.json";
import overview from "./en/overview.json";
import parts from "./en/parts.json";
import service from "./en/service.json";
import shell from "./en/shell.json";

export default { ...admin, ...alerts, ...inside, ...overview, ...parts, ...service, ...shell };
