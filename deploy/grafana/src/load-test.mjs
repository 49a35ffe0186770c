/** One page beside a running `banter load`: what goes in, what comes out, what it costs. */
import { OBJECTIVE, chart, dashboard } from './panel.mjs';
import { perSecond, quantile, spread } from './query.mjs';

export default dashboard({
  file: 'load-test',
  title: 'load-test run',
  asks: 'What does the server do under this load, and what gives out first?',
  since: 'now-15m',
  rows: {
    Load: [
      chart({
        title: 'Sockets',
        asks: 'Users of the test, once they are in.',
        queries: [['sum by (state) (banter_gateway_connections)', '{{state}}']],
      }),
      chart({
        title: 'Messages, per second',
        asks: 'Accepted from senders, stored in the database.',
        queries: [
          [perSecond('banter_gateway_messages_accepted_total'), 'accepted'],
          [perSecond('banter_worker_messages_persisted_total'), 'stored'],
        ],
      }),
      chart({
        title: 'Broadcast: deliveries, per second',
        asks: 'Accepted times members.',
        queries: [[perSecond('banter_gateway_deliveries_total'), 'delivered']],
      }),
    ],
    Latency: [
      chart({
        title: 'Ack',
        asks: 'As the server sees it. The test measures from the intended send time: its numbers are higher, and right.',
        unit: 's',
        limit: OBJECTIVE.ack,
        queries: spread('banter_gateway_ack_duration_seconds'),
      }),
      chart({
        title: 'Delivery',
        asks: 'From acceptance to the write to the socket.',
        unit: 's',
        limit: OBJECTIVE.delivery,
        queries: spread('banter_gateway_delivery_latency_seconds'),
      }),
      chart({
        title: 'HTTP',
        asks: 'Logins, channels, pages of history.',
        unit: 's',
        queries: spread('banter_http_request_duration_seconds'),
      }),
    ],
    Cost: [
      chart({
        title: 'CPU by service, in cores',
        asks: 'What reaches the number of cores first is the limit.',
        stacked: true,
        queries: [
          ['sum by (role) (rate(process_cpu_seconds_total{job="banter"}[$__rate_interval]))', '{{role}}'],
          [
            'sum(rate(redis_cpu_sys_seconds_total[$__rate_interval]) + rate(redis_cpu_user_seconds_total[$__rate_interval]))',
            'redis',
          ],
        ],
      }),
      chart({
        title: 'CPU of the machines, in cores',
        asks: 'Everything on them: PostgreSQL, NGINX and the test itself too.',
        stacked: true,
        queries: [
          ['sum by (mode) (rate(node_cpu_seconds_total{mode!~"idle|iowait"}[$__rate_interval]))', '{{mode}}'],
        ],
      }),
      chart({
        title: 'Load averages',
        asks: 'Above the number of cores, tasks wait for each other.',
        queries: [
          ['node_load1', '{{instance}} 1 min'],
          ['node_load5', '{{instance}} 5 min'],
          ['node_load15', '{{instance}} 15 min'],
        ],
      }),
      chart({
        title: 'CPU for a delivery',
        asks: 'Of the processes that deliver. It falls as batches grow.',
        unit: 's',
        queries: [
          [
            'sum(rate(process_cpu_seconds_total{job="banter",role=~"gateway|all"}[$__rate_interval])) / (sum(rate(banter_gateway_deliveries_total[$__rate_interval])) > 0)',
            'each',
          ],
        ],
      }),
      chart({
        title: 'Memory for a socket',
        asks: 'All memory of the gateways over their sockets; right with thousands of them.',
        unit: 'bytes',
        queries: [
          [
            'sum(process_resident_memory_bytes{job="banter",role=~"gateway|all"}) / (sum(banter_gateway_connections) > 0)',
            'each',
          ],
        ],
      }),
      chart({
        title: 'Event loop behind, p99',
        asks: 'Rises first when a process has no CPU left.',
        unit: 's',
        limit: 0.1,
        queries: [[quantile(0.99, 'banter_runtime_poll_delay_seconds', '', 'instance'), '{{instance}}']],
      }),
    ],
    Limits: [
      chart({
        title: 'Queue, entries',
        asks: 'Growing through the whole run: workers are the limit.',
        queries: [
          ['cluster:queue_unstored_entries:max', 'not stored'],
          ['sum(banter_queue_entries)', 'wait for the log'],
        ],
      }),
      chart({
        title: 'Queue, age of the oldest',
        asks: 'How far the database is behind.',
        unit: 's',
        limit: 30,
        queries: [['cluster:queue_age_seconds:max', 'oldest']],
      }),
      chart({
        title: 'Balance of the gateways',
        asks: 'Standard deviation over mean of their sockets.',
        limit: 0.15,
        queries: [['cluster:connections:variation', 'variation']],
      }),
      chart({
        title: 'Refused, per second',
        asks: 'What the server could or would not take.',
        stacked: true,
        queries: [
          [perSecond('banter_gateway_messages_rejected_total', 'reason'), '{{reason}}'],
          [perSecond('banter_gateway_handshake_failures_total', 'reason'), 'hello: {{reason}}'],
        ],
      }),
      chart({
        title: 'Closed by the server, per second',
        asks: 'slow_consumer: the test does not read fast enough, or the gateway cannot write.',
        stacked: true,
        queries: [
          [perSecond('banter_gateway_connections_closed_total{reason!="gone"}', 'reason'), '{{reason}}'],
        ],
      }),
      chart({
        title: 'File descriptors in use',
        asks: 'At 1 no socket more, whatever CPU is left.',
        unit: 'percentunit',
        limit: 0.8,
        queries: [['process_open_fds{job="banter"} / process_max_fds{job="banter"}', '{{instance}}']],
      }),
    ],
  },
});
