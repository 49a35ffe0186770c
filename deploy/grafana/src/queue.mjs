/** From the log into the database. */
import { chart, dashboard, number } from './panel.mjs';
import { perSecond, quantile } from './query.mjs';

export default dashboard({
  file: 'queue',
  title: 'queue and persistence',
  asks: 'Do the workers keep up, and is everything stored that was accepted?',
  rows: {
    'At a glance': [
      number({
        title: 'Entries not yet stored',
        asks: 'Accepted, safe in the log, not in the database.',
        limit: 10000,
        queries: [['cluster:queue_unstored_entries:max', 'entries']],
      }),
      number({
        title: 'The oldest of them',
        asks: 'Above 30 s nobody is storing it.',
        unit: 's',
        limit: 30,
        queries: [['cluster:queue_age_seconds:max', 'age']],
      }),
      number({
        title: 'Since the last commit',
        asks: 'Of any worker. Means something only while entries wait.',
        unit: 's',
        queries: [['time() - max(banter_worker_last_commit_timestamp_seconds)', 'ago']],
      }),
      number({
        title: 'Sends held back',
        asks: 'Processes that refuse sends because Redis is nearly full.',
        limit: 1,
        queries: [['sum(banter_queue_backpressure)', 'processes']],
      }),
      number({
        title: 'Rejected, 24 h',
        asks: 'Accepted entries in whose place a tombstone stands. Must be 0.',
        limit: 1,
        queries: [['sum(increase(banter_worker_rejected_total[24h]))', 'entries']],
      }),
      number({
        title: 'New epochs, 24 h',
        asks: 'Shards for which Redis came back as another.',
        limit: 1,
        queries: [['sum(increase(banter_queue_epoch_changes_total[24h]))', 'shards']],
      }),
    ],
    Queue: [
      chart({
        title: 'Accepted and stored, per second',
        asks: 'Stored below accepted for long: the queue grows.',
        queries: [
          [perSecond('banter_gateway_messages_accepted_total'), 'accepted'],
          [perSecond('banter_worker_messages_persisted_total'), 'stored'],
        ],
      }),
      chart({
        title: 'Length',
        asks: 'Entries, and the channels that they are in.',
        queries: [
          ['cluster:queue_unstored_entries:max', 'entries'],
          ['max(banter_queue_unstored_channels)', 'channels'],
        ],
      }),
      chart({
        title: 'Age of the oldest',
        asks: 'unstored: waits for the database. unlogged: waits for the log, its sender has no ack.',
        unit: 's',
        limit: 30,
        queries: [
          ['max(banter_queue_oldest_unstored_age_seconds)', 'unstored'],
          ['max(banter_queue_oldest_entry_age_seconds)', 'unlogged'],
        ],
      }),
      chart({
        title: 'Entries that wait for the log',
        asks: 'In gateways, before Redis (or SQLite) has them.',
        queries: [['sum by (instance) (banter_queue_entries)', '{{instance}}']],
      }),
      chart({
        title: 'Writing to the log, p99',
        asks: 'Mostly the fsync of Redis. It is part of every ack.',
        unit: 's',
        queries: [
          [
            quantile(0.99, 'banter_dependency_request_duration_seconds', '{dependency="log",operation="append"}', 'outcome'),
            '{{outcome}}',
          ],
        ],
      }),
      chart({
        title: 'Repeated sends, per second',
        asks: 'Recognised and answered as the first time: clients that came back.',
        queries: [[perSecond('banter_worker_duplicates_total'), 'recognised']],
      }),
    ],
    Workers: [
      chart({
        title: 'Rows by worker, per second',
        asks: 'A new worker should take its share within seconds.',
        stacked: true,
        queries: [[perSecond('banter_worker_messages_persisted_total', 'instance'), '{{instance}}']],
      }),
      chart({
        title: 'Rows of a batch',
        asks: 'Bigger batches are cheaper rows: they grow when workers are behind.',
        queries: [
          [quantile(0.5, 'banter_worker_batch_rows'), 'p50'],
          [quantile(0.99, 'banter_worker_batch_rows'), 'p99'],
        ],
      }),
      chart({
        title: 'Commit of a batch, p99',
        asks: 'error: the database did not take it; the entries stay in the log and are tried again.',
        unit: 's',
        queries: [[quantile(0.99, 'banter_worker_flush_duration_seconds', '', 'outcome'), '{{outcome}}']],
      }),
      chart({
        title: 'From acceptance to the database',
        asks: 'How far history in the database lags behind the log.',
        unit: 's',
        queries: [
          [quantile(0.5, 'banter_worker_persist_latency_seconds'), 'p50'],
          [quantile(0.99, 'banter_worker_persist_latency_seconds'), 'p99'],
        ],
      }),
      chart({
        title: 'Shards by worker',
        asks: '16 in all. A sum below is a shard that nobody drains for the moment.',
        stacked: true,
        max: 16,
        queries: [['sum by (instance) (banter_worker_shards)', '{{instance}}']],
      }),
      chart({
        title: 'Done twice, fenced off, rejected, per second',
        asks: 'Replays and fences are the safety at work after a crash. Rejected must stay 0.',
        queries: [
          [perSecond('banter_worker_replayed_total'), 'replayed'],
          [perSecond('banter_worker_fenced_total'), 'fenced off'],
          [perSecond('banter_worker_rejected_total', 'reason'), 'rejected: {{reason}}'],
        ],
      }),
    ],
  },
});
