/**
 * Writes every dashboard to dist/, one file each, where Grafana's provisioning finds them.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import accounts from './accounts.mjs';
import gateways from './gateways.mjs';
import loadTest from './load-test.mjs';
import queue from './queue.mjs';
import servers from './servers.mjs';
import serviceLevel from './service-level.mjs';

const folder = fileURLToPath(new URL('../dist/', import.meta.url));
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder);
for (const { file, json } of [serviceLevel, gateways, queue, accounts, servers, loadTest]) {
  writeFileSync(`${folder}${file}.json`, `${JSON.stringify(json, null, 2)}\n`);
}
