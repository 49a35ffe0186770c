/** Sockets: how they are spread, what they cost, why they end. */
import { chart, dashboard } from './panel.mjs';
import { perSecond, quantile } from './query.mjs';

const CHOSEN = '{instance=~"$instance"}';

/**
 * A counter or gauge of the chosen processes.
 * @param {string} name
 * @param {string} [more] further matchers
 */
const of = (name, more) => `${name}{instance=~"$instance"${more ? `,${more}` : ''}}`;

export default dashboard({
  file: 'gateways',
  title: 'gateways and balance',
  asks: 'Is the load spread evenly, and does any gateway suffer?',
  chooses: true,
  rows: {
    Balance: [
      chart({
        title: 'Sockets by gateway',
        asks: 'Lines that lie on each other are balance.',
        queries: [[`sum by (instance) (${of('banter_gateway_connections', 'state="ready"')})`, '{{instance}}']],
      }),
      chart({
        title: 'Variation of sockets and CPU',
        asks: 'Standard deviation over mean. 0 is perfect; above 0.15 for minutes is not balance.',
        limit: 0.15,
        queries: [
          ['cluster:connections:variation', 'sockets'],
          [
            'stddev(rate(process_cpu_seconds_total{job="banter",role="gateway"}[$__rate_interval])) / avg(rate(process_cpu_seconds_total{job="banter",role="gateway"}[$__rate_interval]))',
            'CPU',
          ],
          ['max by (measure) (banter_gateway_balance_variation)', '{{measure}}, as gateways see it'],
        ],
      }),
      chart({
        title: 'Fullest over mean',
        asks: 'What the fullest gateway carries in shares of the average; 1.15 starts rebalancing.',
        limit: 1.15,
        queries: [
          ['cluster:connections:peak', 'sockets'],
          ['max by (measure) (banter_gateway_balance_peak)', '{{measure}}, as gateways see it'],
        ],
      }),
      chart({
        title: 'CPU by process, in cores',
        asks: 'A gateway at one core is not yet full: it uses as many as it has.',
        queries: [
          [
            'sum by (instance) (rate(process_cpu_seconds_total{job="banter",instance=~"$instance"}[$__rate_interval]))',
            '{{instance}}',
          ],
        ],
      }),
      chart({
        title: 'Sockets asked to go elsewhere, per second',
        asks: 'drain: a gateway leaves. rebalance: a gateway is fuller than the others.',
        queries: [[perSecond(of('banter_gateway_shed_connections_total'), 'cause'), '{{cause}}']],
      }),
      chart({
        title: 'Gateways that each gateway knows',
        asks: 'All should know the same number; one that knows fewer is cut off from Redis.',
        queries: [[`sum by (instance) (${of('banter_gateway_peers')})`, '{{instance}}']],
      }),
    ],
    Sockets: [
      chart({
        title: 'Opened and closed, per second',
        asks: 'A peak of both is a reconnect storm.',
        queries: [
          [perSecond(of('banter_gateway_connections_opened_total')), 'opened'],
          [perSecond(of('banter_gateway_connections_closed_total')), 'closed'],
        ],
      }),
      chart({
        title: 'By state',
        asks: 'Many unauthenticated: somebody opens sockets and says nothing.',
        stacked: true,
        queries: [[`sum by (state) (${of('banter_gateway_connections')})`, '{{state}}']],
      }),
      chart({
        title: 'From upgrade to welcome',
        asks: 'What a newcomer waits; it reads his channels from the database.',
        unit: 's',
        queries: [
          [quantile(0.5, 'banter_gateway_handshake_duration_seconds', CHOSEN), 'p50'],
          [quantile(0.99, 'banter_gateway_handshake_duration_seconds', CHOSEN), 'p99'],
        ],
      }),
      chart({
        title: 'Resumed channels, per second',
        asks: 'too_old and epoch_changed made clients read afresh; failed: no member any more.',
        stacked: true,
        queries: [[perSecond(of('banter_gateway_resumes_total'), 'outcome'), '{{outcome}}']],
      }),
      chart({
        title: 'Life of a socket, median',
        asks: 'Short lives cost handshakes: look for a proxy that cuts quiet sockets.',
        unit: 's',
        queries: [[quantile(0.5, 'banter_gateway_connection_age_seconds', CHOSEN), 'p50']],
      }),
      chart({
        title: 'Way to the client and back',
        asks: 'From a ping to its pong: the network of the people, not ours.',
        unit: 's',
        queries: [
          [quantile(0.5, 'banter_gateway_ping_rtt_seconds', CHOSEN), 'p50'],
          [quantile(0.99, 'banter_gateway_ping_rtt_seconds', CHOSEN), 'p99'],
        ],
      }),
    ],
    Delivery: [
      chart({
        title: 'Deliveries by gateway, per second',
        asks: 'The true load of a gateway.',
        queries: [[perSecond(of('banter_gateway_deliveries_total'), 'instance'), '{{instance}}']],
      }),
      chart({
        title: 'Delivery by gateway, p99',
        asks: 'One line above the others: that gateway has no CPU left, or is behind on the bus.',
        unit: 's',
        limit: 0.25,
        queries: [
          [quantile(0.99, 'banter_gateway_delivery_latency_seconds', CHOSEN, 'instance'), '{{instance}}'],
        ],
      }),
      chart({
        title: 'Bytes that wait for clients',
        asks: 'Slow readers; each is cut off at its limit.',
        unit: 'bytes',
        queries: [[`sum by (instance) (${of('banter_gateway_send_queue_bytes')})`, '{{instance}}']],
      }),
      chart({
        title: 'Slow clients, per second',
        asks: 'closed: told so. cut: did not take even that.',
        queries: [[perSecond(of('banter_gateway_slow_consumers_total'), 'action'), '{{action}}']],
      }),
      chart({
        title: 'Members reached by an entry',
        asks: 'Of this process: how big the rooms are.',
        queries: [
          [quantile(0.5, 'banter_gateway_fanout_recipients', CHOSEN), 'p50'],
          [quantile(0.99, 'banter_gateway_fanout_recipients', CHOSEN), 'p99'],
        ],
      }),
      chart({
        title: 'Bytes, per second',
        asks: 'Towards and from clients, as the kernel took them.',
        unit: 'Bps',
        queries: [[perSecond(of('banter_gateway_bytes_total'), 'direction'), '{{direction}}']],
      }),
    ],
    'Between gateways': [
      chart({
        title: 'Heard from the bus, per second',
        asks: 'Only channels with members here should be heard; far more than deliveries is waste.',
        queries: [[perSecond(of('banter_bus_messages_total'), 'instance'), '{{instance}}']],
      }),
      chart({
        title: 'Delay of the bus, p99',
        asks: 'A gateway publishes to itself and waits. High on all: Redis. High on one: it.',
        unit: 's',
        queries: [[quantile(0.99, 'banter_bus_lag_seconds', CHOSEN, 'instance'), '{{instance}}']],
      }),
      chart({
        title: 'Gaps, per second',
        asks: 'The bus may lose; repaired from the log is fine, false closed a socket.',
        queries: [
          [perSecond(of('banter_gateway_gaps_detected_total'), 'repaired'), 'repaired: {{repaired}}'],
        ],
      }),
    ],
    Process: [
      chart({
        title: 'Event loop behind, p99',
        asks: 'From a task being ready to its run. Above 100 ms everything is late.',
        unit: 's',
        limit: 0.1,
        queries: [[quantile(0.99, 'banter_runtime_poll_delay_seconds', CHOSEN, 'instance'), '{{instance}}']],
      }),
      chart({
        title: 'Memory',
        asks: 'Should follow the sockets and nothing else.',
        unit: 'bytes',
        queries: [['process_resident_memory_bytes{job="banter",instance=~"$instance"}', '{{instance}}']],
      }),
      chart({
        title: 'File descriptors in use',
        asks: 'One for each socket; at 1 nobody gets in.',
        unit: 'percentunit',
        limit: 0.8,
        queries: [
          [
            'process_open_fds{job="banter",instance=~"$instance"} / process_max_fds{job="banter",instance=~"$instance"}',
            '{{instance}}',
          ],
        ],
      }),
    ],
  },
});
