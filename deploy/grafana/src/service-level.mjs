/** What people notice: is it up, is it quick, is anything refused? */
import { OBJECTIVE, chart, dashboard, number } from './panel.mjs';
import { perSecond, quantile, spread } from './query.mjs';

const FAILED = 'banter_gateway_messages_rejected_total{reason=~"unavailable|overloaded"}';
const ACCEPTED = 'banter_gateway_messages_accepted_total';

export default dashboard({
  file: 'service-level',
  title: 'service level',
  asks: 'Do people get what they were promised, now and over the month?',
  rows: {
    'At a glance': [
      number({
        title: 'Allowance left of 30 days',
        asks: 'Of the 0.05 % of sends that may fail. At 0 no more risks are taken this month.',
        unit: 'percentunit',
        queries: [
          [
            `1 - sum(increase(${FAILED}[30d])) / (sum(increase(${FAILED}[30d])) + sum(increase(${ACCEPTED}[30d]))) / ${OBJECTIVE.failed}`,
            'left',
          ],
        ],
      }),
      number({
        title: 'Sends that fail, 1 h',
        asks: 'Refused as unavailable or overloaded, of all that were not refused by a rule.',
        unit: 'percentunit',
        limit: OBJECTIVE.failed,
        queries: [['cluster:sends_failed:ratio_rate1h', 'failed']],
      }),
      number({
        title: 'Ack, p99',
        asks: 'The objective is 100 ms.',
        unit: 's',
        limit: OBJECTIVE.ack,
        queries: [['cluster:ack_duration_seconds:p99_rate5m', 'ack']],
      }),
      number({
        title: 'Delivery, p99',
        asks: 'The objective is 250 ms from acceptance to the write to the socket.',
        unit: 's',
        limit: OBJECTIVE.delivery,
        queries: [['cluster:delivery_latency_seconds:p99_rate5m', 'delivery']],
      }),
      number({
        title: 'People connected',
        asks: 'Sockets past hello that were not told to go.',
        queries: [['sum(banter_gateway_connections{state="ready"})', 'sockets']],
      }),
      number({
        title: 'Processes away',
        asks: 'Banter processes that Prometheus cannot read.',
        limit: 1,
        queries: [['count(up{job="banter"} == 0) or vector(0)', 'away']],
      }),
    ],
    Waiting: [
      chart({
        title: 'From send to ack',
        asks: 'How long senders wait until they know that it is safe.',
        unit: 's',
        limit: OBJECTIVE.ack,
        queries: spread('banter_gateway_ack_duration_seconds'),
      }),
      chart({
        title: 'From acceptance to delivery',
        asks: 'How late members see what was said.',
        unit: 's',
        limit: OBJECTIVE.delivery,
        queries: spread('banter_gateway_delivery_latency_seconds'),
      }),
      chart({
        title: 'Heartbeat through the whole pipeline, p99',
        asks: 'The same when nobody talks: received over the bus, stored in the database.',
        unit: 's',
        queries: [[quantile(0.99, 'banter_probe_roundtrip_seconds', '', 'stage'), '{{stage}}']],
      }),
      chart({
        title: 'Ack by level, p99',
        asks: 'queued: fsynced in the log. stored: in the database.',
        unit: 's',
        queries: [[quantile(0.99, 'banter_gateway_ack_duration_seconds', '', 'level'), '{{level}}']],
      }),
      chart({
        title: 'HTTP by route, p99',
        asks: 'History and channel lists are what people wait for when they open a channel.',
        unit: 's',
        queries: [[quantile(0.99, 'banter_http_request_duration_seconds', '', 'route'), '{{route}}']],
      }),
      chart({
        title: 'Heartbeats that failed',
        asks: 'By the stage that they did not reach. Any line is news.',
        queries: [[perSecond('banter_probe_failures_total', 'stage'), '{{stage}}']],
      }),
    ],
    Refused: [
      chart({
        title: 'Refused sends, per second',
        asks: 'unavailable and overloaded are ours; the others are rules that senders broke.',
        stacked: true,
        queries: [[perSecond('banter_gateway_messages_rejected_total', 'reason'), '{{reason}}']],
      }),
      chart({
        title: 'HTTP errors of ours, per second',
        asks: 'Answers of 500 and above, by route.',
        stacked: true,
        queries: [
          [
            `${perSecond('banter_http_requests_total{code=~"5.."}', 'route', 'code')} or vector(0)`,
            '{{code}} {{route}}',
          ],
        ],
      }),
      chart({
        title: 'Closed sockets, per second',
        asks: 'gone: the client went. Everything else was the server’s decision.',
        stacked: true,
        queries: [[perSecond('banter_gateway_connections_closed_total', 'reason'), '{{reason}}']],
      }),
    ],
    Traffic: [
      chart({
        title: 'Messages accepted, per second',
        asks: 'What people say.',
        queries: [[perSecond(ACCEPTED), 'accepted']],
      }),
      chart({
        title: 'Deliveries, per second',
        asks: 'What they hear; the work of the gateways.',
        queries: [[perSecond('banter_gateway_deliveries_total'), 'delivered']],
      }),
      chart({
        title: 'HTTP requests, per second',
        asks: 'By the class of the answer.',
        queries: [[perSecond('banter_http_requests_total', 'code'), '{{code}}']],
      }),
    ],
  },
});
