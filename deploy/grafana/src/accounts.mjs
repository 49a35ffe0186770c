/** Signing in, and those who should not be able to. */
import { chart, dashboard } from './panel.mjs';
import { perSecond, quantile } from './query.mjs';

export default dashboard({
  file: 'accounts',
  title: 'authentication and abuse',
  asks: 'Can people sign in, and is somebody trying what they should not?',
  since: 'now-6h',
  rows: {
    'Signing in': [
      chart({
        title: 'Logins, per second',
        asks: 'failed far above succeeded: somebody guesses. overloaded: auth needs more cores.',
        stacked: true,
        queries: [[perSecond('banter_auth_logins_total', 'outcome'), '{{outcome}}']],
      }),
      chart({
        title: 'Hashing a password',
        asks: 'Without waiting. It rises when cores are shared with something else.',
        unit: 's',
        queries: [
          [quantile(0.5, 'banter_auth_password_hash_duration_seconds'), 'p50'],
          [quantile(0.99, 'banter_auth_password_hash_duration_seconds'), 'p99'],
        ],
      }),
      chart({
        title: 'Passwords that wait for a core',
        asks: 'At 64 the next login is refused.',
        limit: 64,
        queries: [['sum by (instance) (banter_auth_password_hash_waiting)', '{{instance}}']],
      }),
      chart({
        title: 'Login and refresh over HTTP, p99',
        asks: 'What people wait for.',
        unit: 's',
        queries: [
          [quantile(0.99, 'banter_http_request_duration_seconds', '{route=~"/v1/auth/.*"}', 'route'), '{{route}}'],
        ],
      }),
      chart({
        title: 'Refreshes, per second',
        asks: 'grace: a lost answer was asked for again. reuse_detected: a session was ended.',
        stacked: true,
        queries: [[perSecond('banter_auth_refreshes_total', 'outcome'), '{{outcome}}']],
      }),
      chart({
        title: 'CPU of those who hash, in cores',
        asks: 'Flat at the number of cores: add an auth.',
        queries: [
          [
            'sum by (instance) (rate(process_cpu_seconds_total{job="banter",role=~"auth|all"}[$__rate_interval]))',
            '{{instance}}',
          ],
        ],
      }),
    ],
    'Tokens and keys': [
      chart({
        title: 'Revocations, p99 until they work',
        asks: 'Two seconds is the promise.',
        unit: 's',
        limit: 2,
        queries: [[quantile(0.99, 'banter_gateway_revocation_lag_seconds', '', 'instance'), '{{instance}}']],
      }),
      chart({
        title: 'Since keys were last confirmed',
        asks: 'A gateway that cannot confirm them goes on with its copy; above 15 minutes look why.',
        unit: 's',
        limit: 900,
        queries: [['time() - (banter_gateway_jwks_refreshed_timestamp_seconds > 0)', '{{instance}}']],
      }),
      chart({
        title: 'Age of the signing key',
        asks: 'It is replaced after 30 days.',
        unit: 's',
        limit: 40 * 86400,
        queries: [
          ['time() - max(banter_auth_signing_key_created_timestamp_seconds{role=~"auth|all"})', 'age'],
        ],
      }),
    ],
    Abuse: [
      chart({
        title: 'Throttled logins and registrations, per second',
        asks: 'By the rule that held.',
        stacked: true,
        queries: [[perSecond('banter_auth_throttled_total', 'rule'), '{{rule}}']],
      }),
      chart({
        title: 'Over a limit, per second',
        asks: 'Floods of entries, frames, upgrades, sockets, posts to webhooks and new ones.',
        stacked: true,
        queries: [[perSecond('banter_gateway_rate_limited_total', 'scope'), '{{scope}}']],
      }),
      chart({
        title: 'Refused upgrades and hellos, per second',
        asks: 'origin_refused: a page of somebody else. token_invalid in masses: a broken client.',
        stacked: true,
        queries: [[perSecond('banter_gateway_handshake_failures_total', 'reason'), '{{reason}}']],
      }),
      chart({
        title: 'Posts to webhooks, per second',
        asks: 'webhook_not_found: a program posts to one that is gone, or somebody tries secrets.',
        stacked: true,
        queries: [[perSecond('banter_gateway_webhook_posts_total', 'outcome'), '{{outcome}}']],
      }),
      chart({
        title: 'Refused HTTP requests, per second',
        asks: 'By the code that the client got.',
        stacked: true,
        queries: [[perSecond('banter_http_problems_total', 'code'), '{{code}}']],
      }),
      chart({
        title: 'Cut connections, per second',
        asks: 'head_too_slow: somebody holds connections open on purpose. not_accepted: no descriptors.',
        stacked: true,
        queries: [[perSecond('banter_http_connections_dropped_total', 'reason'), '{{reason}}']],
      }),
      chart({
        title: 'Error frames, per second',
        asks: 'What sockets were told; bad_frame in masses is a broken client.',
        stacked: true,
        queries: [[perSecond('banter_gateway_error_frames_total', 'code'), '{{code}}']],
      }),
    ],
  },
});
