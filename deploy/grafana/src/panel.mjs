/**
 * Panels and dashboards as all files here use them: one look, one way to say what a panel is for.
 */
import * as common from '@grafana/grafana-foundation-sdk/common';
import * as dashboards from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus';
import * as stat from '@grafana/grafana-foundation-sdk/stat';
import * as timeseries from '@grafana/grafana-foundation-sdk/timeseries';

/** Chosen in the dashboard, so that one build fits every Grafana. */
const SOURCE = { type: 'prometheus', uid: '${datasource}' };

/** What is asked of Banter: seconds, and the share of sends that may fail. */
export const OBJECTIVE = { ack: 0.1, delivery: 0.25, failed: 0.0005 };

/**
 * @typedef {object} Panel
 * @property {string} title
 * @property {string} asks what it answers, and what to think of the answer
 * @property {[string, string][]} queries expression and legend
 * @property {string} [unit] Grafana's name of the unit
 * @property {number} [limit] from here on it is bad; drawn in red
 * @property {boolean} [stacked]
 * @property {number} [max] the end of the axis
 */

/** @param {Panel} panel */
function targets({ queries }) {
  return queries.map(([expr, legend], index) =>
    new DataqueryBuilder()
      .datasource(SOURCE)
      .refId(String.fromCharCode(65 + index))
      .expr(expr)
      .legendFormat(legend),
  );
}

/** @param {number | undefined} limit */
function thresholds(limit) {
  const steps = [{ value: null, color: 'green' }];
  return new dashboards.ThresholdsConfigBuilder()
    .mode(dashboards.ThresholdsMode.Absolute)
    .steps(limit === undefined ? steps : [...steps, { value: limit, color: 'red' }]);
}

/**
 * Lines over time.
 * @param {Panel} panel
 */
export function chart(panel) {
  const built = new timeseries.PanelBuilder()
    .title(panel.title)
    .description(panel.asks)
    .datasource(SOURCE)
    .unit(panel.unit ?? 'short')
    .min(0)
    .lineWidth(1)
    .fillOpacity(panel.stacked ? 40 : 8)
    .legend(
      new common.VizLegendOptionsBuilder()
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom)
        .showLegend(true),
    )
    .tooltip(
      new common.VizTooltipOptionsBuilder()
        .mode(common.TooltipDisplayMode.Multi)
        .sort(common.SortOrder.Descending),
    )
    .thresholds(thresholds(panel.limit))
    .targets(targets(panel))
    .span(8)
    .height(8);
  if (panel.max !== undefined) built.max(panel.max);
  if (panel.stacked) {
    built.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal).group('A'));
  }
  if (panel.limit !== undefined) {
    const dashed = common.GraphThresholdsStyleMode.Dashed;
    built.thresholdsStyle(new common.GraphThresholdsStyleConfigBuilder().mode(dashed));
  }
  return built;
}

/**
 * One number that is green or red.
 * @param {Panel} panel
 */
export function number(panel) {
  return new stat.PanelBuilder()
    .title(panel.title)
    .description(panel.asks)
    .datasource(SOURCE)
    .unit(panel.unit ?? 'short')
    .noValue('none')
    .thresholds(thresholds(panel.limit))
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    // The present only: some look back over a month, which is too much for every point of a line.
    .targets(targets(panel).map((target) => target.instant()))
    .span(4)
    .height(4);
}

/**
 * A mark on all charts wherever the expression has a value.
 * @param {string} name
 * @param {string} expr
 * @param {string} title its text, with `{{label}}`
 * @param {string} color
 */
function mark(name, expr, title, color) {
  return new dashboards.AnnotationQueryBuilder()
    .name(name)
    .datasource(SOURCE)
    .enable(true)
    .iconColor(color)
    .expr(expr)
    .titleFormat(title)
    .step('10s');
}

/** What happened, to be seen on every chart beside what it did. */
const MARKS = [
  mark('Alerts', 'ALERTS{alertstate="firing",severity!="none"}', '{{alertname}} {{instance}}', 'red'),
  mark('Starts', 'changes(process_start_time_seconds{job="banter"}[1m]) > 0', '{{instance}} started', 'blue'),
  mark(
    'New epochs',
    'sum(increase(banter_queue_epoch_changes_total[1m])) > 0',
    'the log was replaced',
    'orange',
  ),
];

/**
 * @typedef {object} Dashboard
 * @property {string} file name of its file, and of its address in Grafana
 * @property {string} title
 * @property {string} asks the question that it answers
 * @property {boolean} [chooses] whether processes can be chosen, as `$instance`
 * @property {string} [since] what it shows at first
 * @property {Record<string, (timeseries.PanelBuilder | stat.PanelBuilder)[]>} rows
 */

/** @param {Dashboard} wanted */
export function dashboard(wanted) {
  const built = new dashboards.DashboardBuilder(`Banter: ${wanted.title}`)
    .uid(`banter-${wanted.file}`)
    .description(wanted.asks)
    .tags(['banter'])
    .readonly()
    .timezone('browser')
    .tooltip(dashboards.DashboardCursorSync.Crosshair)
    .refresh('10s')
    .time({ from: wanted.since ?? 'now-1h', to: 'now' })
    .annotations(MARKS)
    .link(
      new dashboards.DashboardLinkBuilder('Banter')
        .type(dashboards.DashboardLinkType.Dashboards)
        .tags(['banter'])
        .keepTime(true),
    )
    .withVariable(
      new dashboards.DatasourceVariableBuilder('datasource').label('Prometheus').type('prometheus'),
    );
  if (wanted.chooses) {
    built.withVariable(
      new dashboards.QueryVariableBuilder('instance')
        .label('Process')
        .datasource(SOURCE)
        .query('label_values(banter_gateway_connections{role=~"gateway|all"}, instance)')
        .refresh(dashboards.VariableRefresh.OnTimeRangeChanged)
        .multi(true)
        .includeAll(true)
        .current({ text: 'All', value: '$__all' }),
    );
  }
  let id = 1;
  for (const [title, panels] of Object.entries(wanted.rows)) {
    built.withRow(new dashboards.RowBuilder(title).id(id++));
    for (const panel of panels) built.withPanel(panel.id(id++));
  }
  return { file: wanted.file, json: built.build() };
}
