/**
 * Expressions that many panels share. `$__rate_interval` is Grafana's: four scrapes at least.
 */

/**
 * Per second, added up by these labels.
 * @param {string} selector a counter, with or without matchers
 * @param {string[]} by
 */
export function perSecond(selector, ...by) {
  const labels = by.length > 0 ? ` by (${by.join(', ')})` : '';
  return `sum${labels} (rate(${selector}[$__rate_interval]))`;
}

/**
 * A quantile of a histogram, by these labels.
 * @param {number} q
 * @param {string} name the histogram's name, without `_bucket`
 * @param {string} matchers such as `{level="queued"}`, or nothing
 * @param {string[]} by
 */
export function quantile(q, name, matchers = '', ...by) {
  const rate = `rate(${name}_bucket${matchers}[$__rate_interval])`;
  return `histogram_quantile(${q}, sum by (${['le', ...by].join(', ')}) (${rate}))`;
}

/**
 * The quantiles that tell how a latency is spread, as queries of a chart.
 * @param {string} name
 * @param {string} matchers
 * @returns {[string, string][]}
 */
export function spread(name, matchers = '') {
  return [0.5, 0.9, 0.95, 0.99].map((q) => [
    quantile(q, name, matchers),
    `p${Math.round(q * 100)}`,
  ]);
}
