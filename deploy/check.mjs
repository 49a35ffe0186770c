/**
 * Whether alerts, dashboards, runbooks and documents speak of the same things: every metric exists,
 * every alert has its page and its tests. What Prometheus' own tool can check, it checks.
 *
 *   node deploy/check.mjs rules         prints every expression of every dashboard as a rule file
 *   node deploy/check.mjs names         compares the names
 *   node deploy/check.mjs live URL      asks a running Prometheus of a cluster: every metric that is
 *                                       named anywhere must exist, every panel must have data
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path) => readFileSync(root + path, 'utf8');
const list = (folder, ending) =>
  readdirSync(root + folder).filter((name) => name.endsWith(ending)).map((name) => `${folder}/${name}`);

/** Labels that Prometheus adds to all that it scrapes here. */
const SCRAPED = ['job', 'instance', 'role'];
const METRIC = /(?<![\w:./-])((?:banter|process|redis|pg|node|nginx)_[a-zA-Z0-9_]+)(?:\{[^}]*\})?/g;
const RECORDED = /(?<![\w:])cluster:[a-z0-9_]+:[a-z0-9_]+/g;

/** Metrics of a document's tables: name to type and labels. */
function documented(path) {
  if (!existsSync(root + path)) return new Map();
  const rows = read(path).matchAll(/^\| `([a-z0-9_]+)` \| (counter|gauge|histogram) \| ([^|]*) \|/gm);
  return new Map([...rows].map(([, name, type, labels]) => [
    name,
    { type, labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label) },
  ]));
}

/** Every expression of a dashboard, with the place where it stands. */
function expressions(path) {
  const found = [];
  const visit = (value, title) => {
    if (Array.isArray(value)) return value.forEach((each) => visit(each, title));
    if (value === null || typeof value !== 'object') return undefined;
    const within = value.title ?? value.name ?? title;
    if (typeof value.expr === 'string') found.push({ path, title: within, expr: value.expr });
    return Object.values(value).forEach((each) => visit(each, within));
  };
  visit(JSON.parse(read(path)), '');
  return found;
}

/** What Grafana would put in place of its variables. */
const filled = (expr) =>
  expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.+');

const dashboards = list('deploy/grafana/dist', '.json').flatMap(expressions);

function rules() {
  const lines = ['groups:', '  - name: dashboards', '    rules:'];
  dashboards.forEach(({ path, title, expr }, index) => {
    lines.push(`      # ${path}: ${title}`);
    lines.push(`      - record: panel:${index}`, `        expr: ${JSON.stringify(filled(expr))}`);
  });
  console.log(lines.join('\n'));
}

/** Whether the metrics of a text exist; in an expression, their suffixes and labels too. */
function strangers({ path, text, strict }, known, foreign, recorded) {
  const found = [];
  for (const [whole] of text.matchAll(METRIC)) {
    const [, name, matchers] = /^(\w+)(\{.*)?$/s.exec(whole);
    const base = name.replace(/_(bucket|sum|count)$/, '');
    const metric = known.get(name) ?? (known.get(base)?.type === 'histogram' ? known.get(base) : undefined);
    if (!name.startsWith('banter_') && !strict) continue;
    if (metric === undefined) {
      if (!foreign.has(name)) found.push(`${path}: there is no metric ${name}`);
      continue;
    }
    if (!strict) continue;
    if (metric.type === 'histogram' && known.has(name)) {
      found.push(`${path}: ${name} is a histogram; say which part of it`);
    }
    const labels = [...(matchers ?? '').matchAll(/(\w+)\s*(?:=|!=|=~|!~)\s*"/g)].map(([, label]) => label);
    for (const label of labels) {
      const own = metric.labels.includes(label) || (label === 'le' && metric.type === 'histogram');
      if (!own && !SCRAPED.includes(label)) found.push(`${path}: ${name} has no label ${label}`);
    }
  }
  for (const [name] of text.matchAll(RECORDED)) {
    if (!recorded.has(name)) found.push(`${path}: no rule records ${name}`);
  }
  return found;
}

/** Whether an alert says what it must and can be tested to do what it says. */
function alert({ name, body }, tests) {
  const found = [];
  const page = `docs/runbooks/${name}.md`;
  if (!/severity: (page|ticket|none)\b/.test(body)) found.push(`${name}: no severity`);
  for (const key of ['summary', 'description']) {
    if (!body.includes(`\n          ${key}: `)) found.push(`${name}: no ${key}`);
  }
  if (!body.includes(`\n          runbook_url: ${page}\n`)) found.push(`${name}: runbook_url is not ${page}`);
  if (!existsSync(root + page)) {
    found.push(`${name}: there is no ${page}`);
  } else {
    const text = read(page);
    const parts = [`# ${name}\n`, '\n## What it means\n', '\n## Look\n', '\n## Do\n', '\n## Over when\n'];
    for (const part of parts.filter((part) => !text.includes(part))) {
      found.push(`${page}: "${part.trim()}" is missing`);
    }
  }
  const outcomes = tests.filter((test) => test.name === name).map((test) => test.fires);
  if (!outcomes.includes(true)) found.push(`${name}: no test shows it firing`);
  if (!outcomes.includes(false)) found.push(`${name}: no test shows it not firing`);
  return found;
}

function names() {
  const built = documented('docs/metrics.md');
  const found = [];
  const lines = read('deploy/prometheus/exporter-metrics.txt').split('\n');
  const foreign = new Set(lines.filter((line) => line && !line.startsWith('#')));
  const files = list('deploy/prometheus/rules', '.yml');
  const all = files.map(read).join('\n');
  const recorded = new Set([...all.matchAll(/- record: (\S+)/g)].map(([, name]) => name));
  const prose = ['docs/monitoring.md', ...list('docs/runbooks', '.md')];
  const texts = [
    ...dashboards.map(({ path, title, expr }) => ({ path: `${path}: ${title}`, text: expr, strict: true })),
    ...[...files, ...list('deploy/prometheus/tests', '.yml')].map((path) => ({
      path,
      text: read(path).replaceAll(/^\s*#.*$/gm, ''),
      strict: true,
    })),
    ...prose.map((path) => ({ path, text: read(path), strict: false })),
  ];
  found.push(...texts.flatMap((text) => strangers(text, built, foreign, recorded)));

  const alerts = [...all.matchAll(/- alert: (\w+)\n(.*?)(?=\n\n|\n {6}- |$(?![^]))/gs)].map(
    ([, name, body]) => ({ name, body: `${body}\n` }),
  );
  const tests = list('deploy/prometheus/tests', '.yml').flatMap((path) =>
    [...read(path).matchAll(/- alertname: (\w+)\n\s+eval_time: \S+\n\s+exp_alerts:( \[\])?/g)].map(
      ([, name, none]) => ({ name, fires: none === undefined }),
    ),
  );
  found.push(...alerts.flatMap((each) => alert(each, tests)));
  const pages = list('docs/runbooks', '.md').map((path) => path.replace(/.*\/|\.md$/g, ''));
  for (const page of pages.filter((page) => !alerts.some(({ name }) => name === page))) {
    if (page !== 'README') found.push(`docs/runbooks/${page}.md: no alert leads there`);
  }
  for (const line of new Set(found)) console.error(line);
  const count = `${alerts.length} alerts, ${dashboards.length} expressions of dashboards`;
  console.log(`${count}, ${built.size} metrics`);
  return found.length === 0;
}

/** Every metric that any text names, as Prometheus stores it. */
function named() {
  const built = documented('docs/metrics.md');
  const suffixed = (name) => (built.get(name)?.type === 'histogram' ? `${name}_bucket` : name);
  const texts = [
    ...dashboards.map(({ expr }) => expr),
    ...list('deploy/prometheus/rules', '.yml').map((path) => read(path).replaceAll(/^\s*#.*$/gm, '')),
  ];
  const metrics = texts.flatMap((text) => [...text.matchAll(METRIC)].map(([, name]) => name));
  const prose = ['docs/monitoring.md', ...list('docs/runbooks', '.md')].map(read);
  const ours = prose.flatMap((text) => [...text.matchAll(/banter_[a-z0-9_]+/g)].map(([name]) => name));
  return new Set([...metrics, ...ours, ...built.keys()].map(suffixed));
}

async function live(url) {
  const found = [];
  const stored = await (await fetch(`${url}/api/v1/label/__name__/values`)).json();
  for (const name of named()) {
    if (!stored.data.includes(name)) found.push(`there is no metric ${name}`);
  }
  for (const { path, title, expr } of dashboards) {
    if (title === 'Alerts' || title === 'Starts' || title === 'New epochs') continue;
    const query = new URLSearchParams({ query: filled(expr) });
    const answer = await (await fetch(`${url}/api/v1/query?${query}`)).json();
    if (answer.status !== 'success') found.push(`${path}: ${title}: ${answer.error}`);
    else if (answer.data.result.length === 0) found.push(`${path}: ${title}: no data for ${expr}`);
  }
  for (const line of found) console.error(line);
  console.log(`${named().size} metrics, ${dashboards.length} expressions; missing: ${found.length}`);
  return found.length === 0;
}

const [what, url] = process.argv.slice(2);
if (what === 'rules') rules();
else if (what === 'names') process.exitCode = names() ? 0 : 1;
else if (what === 'live' && url) process.exitCode = (await live(url)) ? 0 : 1;
else {
  console.error('usage: node deploy/check.mjs rules | names | live URL');
  process.exitCode = 2;
}
