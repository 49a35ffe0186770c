/** What Banter stands on: Redis, PostgreSQL, NGINX, the machines. */
import { chart, dashboard } from './panel.mjs';
import { perSecond, quantile } from './query.mjs';

const DATABASES = '{datname!~"template.*|postgres"}';
const REQUESTS = 'banter_dependency_request_duration_seconds_count';
const DISKS = '{fstype!~"tmpfs|ramfs|overlay|squashfs"}';

export default dashboard({
  file: 'servers',
  title: 'Redis, PostgreSQL, NGINX',
  asks: 'Is what Banter needs there, and how much of it is left?',
  rows: {
    'As Banter sees them': [
      chart({
        title: 'Out of reach',
        asks: 'Processes that cannot reach what they need, by what it is.',
        limit: 1,
        queries: [
          [
            'count by (dependency) (banter_dependency_up) - sum by (dependency) (banter_dependency_up)',
            '{{dependency}}',
          ],
        ],
      }),
      chart({
        title: 'Requests to them, p99',
        asks: 'By what was asked of whom.',
        unit: 's',
        queries: [
          [
            quantile(0.99, 'banter_dependency_request_duration_seconds', '', 'dependency', 'operation'),
            '{{dependency}} {{operation}}',
          ],
        ],
      }),
      chart({
        title: 'Requests that failed, per second',
        asks: 'Each was answered as unavailable or tried again.',
        queries: [
          [
            // A line at 0 where nothing has failed yet.
            `${perSecond(`${REQUESTS}{outcome!="ok"}`, 'dependency', 'operation')} or 0 * ${perSecond(REQUESTS, 'dependency', 'operation')}`,
            '{{dependency}} {{operation}}',
          ],
        ],
      }),
    ],
    Redis: [
      chart({
        title: 'Memory in use',
        asks: 'Of maxmemory. At 70 % sends are refused.',
        unit: 'percentunit',
        limit: 0.7,
        max: 1,
        queries: [['redis_memory_used_bytes / (redis_memory_max_bytes > 0)', '{{instance}}']],
      }),
      chart({
        title: 'CPU, in cores',
        asks: 'Scripts run on one core: at 1 the log is full, whatever the machine has.',
        limit: 0.8,
        queries: [
          [
            'rate(redis_cpu_sys_main_thread_seconds_total[$__rate_interval]) + rate(redis_cpu_user_main_thread_seconds_total[$__rate_interval])',
            'main thread',
          ],
          [
            'rate(redis_cpu_sys_seconds_total[$__rate_interval]) + rate(redis_cpu_user_seconds_total[$__rate_interval])',
            'all',
          ],
        ],
      }),
      chart({
        title: 'Commands, per second',
        asks: 'Few and big is good: gateways send batches.',
        queries: [['sum by (cmd) (rate(redis_commands_total[$__rate_interval]))', '{{cmd}}']],
      }),
      chart({
        title: 'Durability',
        asks: 'on and last write must be 1; delayed fsyncs must stay 0.',
        queries: [
          ['redis_aof_enabled', 'on'],
          ['redis_aof_last_write_status', 'last write'],
          ['rate(redis_aof_delayed_fsync[$__rate_interval])', 'delayed fsyncs/s'],
        ],
      }),
      chart({
        title: 'Size of the append-only file',
        asks: 'Saw teeth: it is rewritten from time to time.',
        unit: 'bytes',
        queries: [['redis_aof_current_size_bytes', '{{instance}}']],
      }),
      chart({
        title: 'Clients and channels',
        asks: 'A few connections for each process; one channel for each room with members online.',
        queries: [
          ['redis_connected_clients', 'clients'],
          ['redis_pubsub_channels', 'channels'],
        ],
      }),
    ],
    PostgreSQL: [
      chart({
        title: 'Transactions, per second',
        asks: 'rolled back: a worker that was fenced off, or a conflict.',
        queries: [
          [`sum(rate(pg_stat_database_xact_commit${DATABASES}[$__rate_interval]))`, 'committed'],
          [`sum(rate(pg_stat_database_xact_rollback${DATABASES}[$__rate_interval]))`, 'rolled back'],
        ],
      }),
      chart({
        title: 'Rows, per second',
        asks: 'Inserted rows are entries and members.',
        queries: [
          [`sum(rate(pg_stat_database_tup_inserted${DATABASES}[$__rate_interval]))`, 'inserted'],
          [`sum(rate(pg_stat_database_tup_fetched${DATABASES}[$__rate_interval]))`, 'fetched'],
        ],
      }),
      chart({
        title: 'Connections',
        asks: 'idle in transaction for long blocks others.',
        stacked: true,
        queries: [['sum by (state) (pg_stat_activity_count)', '{{state}}']],
      }),
      chart({
        title: 'Found in memory',
        asks: 'Below 0.95 history comes from the disk.',
        unit: 'percentunit',
        max: 1,
        queries: [
          [
            `sum(rate(pg_stat_database_blks_hit${DATABASES}[$__rate_interval])) / (sum(rate(pg_stat_database_blks_hit${DATABASES}[$__rate_interval])) + sum(rate(pg_stat_database_blks_read${DATABASES}[$__rate_interval])))`,
            'hits',
          ],
        ],
      }),
      chart({
        title: 'Longest transaction, deadlocks',
        asks: 'A worker’s transaction takes milliseconds.',
        queries: [
          ['max(pg_stat_activity_max_tx_duration)', 'longest, s'],
          [`sum(rate(pg_stat_database_deadlocks${DATABASES}[$__rate_interval]))`, 'deadlocks/s'],
        ],
      }),
      chart({
        title: 'Size',
        asks: 'Some 400 bytes a message.',
        unit: 'bytes',
        queries: [[`sum by (datname) (pg_database_size_bytes${DATABASES})`, '{{datname}}']],
      }),
    ],
    NGINX: [
      chart({
        title: 'Connections',
        asks: 'A socket counts as writing.',
        stacked: true,
        queries: [
          ['sum(nginx_connections_reading)', 'reading'],
          ['sum(nginx_connections_writing)', 'writing'],
          ['sum(nginx_connections_waiting)', 'waiting'],
        ],
      }),
      chart({
        title: 'Requests, per second',
        asks: 'Everything from outside, upgrades included.',
        queries: [['sum(rate(nginx_http_requests_total[$__rate_interval]))', 'requests']],
      }),
      chart({
        title: 'Dropped connections, per second',
        asks: 'Accepted but not handled: worker_connections is too small.',
        queries: [
          [
            'sum(rate(nginx_connections_accepted[$__rate_interval])) - sum(rate(nginx_connections_handled[$__rate_interval]))',
            'dropped',
          ],
        ],
      }),
    ],
    Machines: [
      chart({
        title: 'CPU in use',
        asks: 'By machine. steal: the host gives it to others.',
        unit: 'percentunit',
        max: 1,
        queries: [
          ['1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))', '{{instance}}'],
          ['avg by (instance) (rate(node_cpu_seconds_total{mode="steal"}[$__rate_interval]))', '{{instance}} steal'],
        ],
      }),
      chart({
        title: 'Load averages',
        asks: 'Tasks that run or wait; above the number of cores they wait.',
        queries: [
          ['node_load1', '{{instance}} 1 min'],
          ['node_load5', '{{instance}} 5 min'],
          ['node_load15', '{{instance}} 15 min'],
        ],
      }),
      chart({
        title: 'Memory in use',
        asks: 'Of what the machine has.',
        unit: 'percentunit',
        limit: 0.9,
        max: 1,
        queries: [['1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes', '{{instance}}']],
      }),
      chart({
        title: 'Disk space in use',
        asks: 'Full means that nothing is stored.',
        unit: 'percentunit',
        limit: 0.95,
        max: 1,
        queries: [
          [`1 - node_filesystem_avail_bytes${DISKS} / node_filesystem_size_bytes${DISKS}`, '{{instance}} {{mountpoint}}'],
        ],
      }),
      chart({
        title: 'Disk busy',
        asks: 'Of the time. At 1 every fsync waits in line, and with it every ack.',
        unit: 'percentunit',
        queries: [['rate(node_disk_io_time_seconds_total[$__rate_interval])', '{{instance}} {{device}}']],
      }),
      chart({
        title: 'Connections that the kernel dropped, per second',
        asks: 'The queue of a listening socket was full: a storm, or a process that does not accept.',
        queries: [
          ['rate(node_netstat_TcpExt_ListenOverflows[$__rate_interval])', '{{instance}}'],
        ],
      }),
    ],
  },
});
