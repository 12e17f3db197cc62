/** Every key of Spooky's classic `config.yaml` with what becomes of it: the reader, its refusals and the reference page all come from this table. */

export type KeyState =
  /** Honoured: `becomes` says as what. */
  | 'yes'
  /** Accepted at its default only. */
  | 'default';

export type KeyType = 'int' | 'bool' | 'text' | 'list' | 'map';

export interface ClassicKey {
  /** `listen.tls.cert`; `[]` stands for the items of a list, `*` for any name. */
  readonly path: string;
  readonly type: KeyType;
  /** Theirs; undefined: required, null: none. */
  readonly fallback: unknown;
  readonly state: KeyState;
  /** A field of ours, or the step to take instead. */
  readonly becomes: string;
  /** What holds where the file is silent, when that is not their default; '' otherwise. */
  readonly ours: string;
}

type Row = readonly [path: string, type: KeyType, fallback: unknown, becomes: string, ours?: string];

const yes = (prefix: string, rows: readonly Row[]): ClassicKey[] =>
  rows.map(([path, type, fallback, becomes, ours]) => ({
    path: `${prefix}${path}`,
    type,
    fallback,
    state: 'yes',
    becomes,
    ours: ours ?? '',
  }));

type Later = readonly [path: string, type: KeyType, fallback: unknown, instead?: string];

const later = (prefix: string, rows: readonly Later[]): ClassicKey[] =>
  rows.map(([path, type, fallback, instead]) => ({
    path: `${prefix}${path}`,
    type,
    fallback,
    state: 'default',
    becomes: instead ?? '',
    ours: '',
  }));

const listen = (prefix: string): ClassicKey[] => [
  ...yes(prefix, [
    ['protocol', 'text', 'http3', 'Listener protocols'],
    ['address', 'text', '0.0.0.0', 'Listener addresses; absent: every address of both families', 'every address'],
    ['port', 'int', 9889, 'Listener port'],
    ['tls.cert', 'text', '', 'Listener tls.certificateRefs, the first'],
    ['tls.key', 'text', '', 'Listener tls.certificateRefs, the first'],
    ['tls.certificates', 'list', [], 'Listener tls.certificateRefs'],
    ['tls.certificates[].server_name', 'text', undefined, 'nothing: names come from the certificate, which must cover it'],
    ['tls.certificates[].cert', 'text', undefined, 'Listener tls.certificateRefs'],
    ['tls.certificates[].key', 'text', undefined, 'Listener tls.certificateRefs'],
  ]),
  ...later(prefix, [
    ['tls.client_auth.enabled', 'bool', false],
    ['tls.client_auth.require_client_cert', 'bool', false],
    ['tls.client_auth.ca_file', 'text', null],
  ]),
];

const upstreamTls = (prefix: string): ClassicKey[] => [
  ...yes(prefix, [
    ['verify_certificates', 'bool', true, 'Upstream tls.verify'],
    ['strict_sni', 'bool', true, 'Upstream tls.sni'],
    ['ca_file', 'text', null, 'Upstream tls.caRef'],
    ['ca_dir', 'text', null, 'Upstream tls.caRef: one bundle of all its files'],
    ['client_certificate', 'text', null, 'Upstream tls.clientCertificateRef'],
    ['client_key', 'text', null, 'Upstream tls.clientCertificateRef'],
  ]),
  ...later(prefix, [
    ['client_certificate_ref', 'text', null, 'write the path of the file as client_certificate'],
    ['client_key_ref', 'text', null, 'write the path of the file as client_key'],
  ]),
];

const balancing = (prefix: string): ClassicKey[] =>
  yes(prefix, [
    ['type', 'text', 'round-robin', 'Upstream loadBalancing.type: round-robin, random or consistent-hash'],
    [
      'key',
      'text',
      null,
      'Upstream loadBalancing.consistentHash.key: path, authority, peer_ip, client_ip, header:, cookie: or query:; default authority',
    ],
  ]);

const AUTH: readonly Later[] = [
  ['api_key.header_name', 'text', 'x-api-key'],
  ['api_key.keys', 'list', []],
  ['jwt.secret', 'text', ''],
  ['jwt.secret_ref', 'text', null],
  ['jwt.issuer', 'text', null],
  ['jwt.audience', 'text', null],
  ['jwt.issuers', 'list', null],
  ['jwt.audiences', 'list', null],
  ['jwt.allowed_algorithms', 'list', ['HS256']],
  ['jwt.require_kid', 'bool', false],
  ['jwt.static_keys', 'list', []],
  ['jwt.jwks_url', 'text', null],
  ['jwt.jwks_refresh_interval_secs', 'int', 300],
  ['jwt.jwks_request_timeout_ms', 'int', 2000],
  ['jwt.jwks_cache_ttl_secs', 'int', 900],
  ['jwt.jwks_stale_if_error_secs', 'int', 3600],
  ['jwt.jwks_startup_behavior', 'text', 'require_ready'],
  ['jwt.clock_skew_secs', 'int', 30],
  ['external_auth', 'map', null],
  ['required_scopes', 'list', []],
  ['required_roles', 'list', []],
];

const PERFORMANCE: readonly Later[] = [
  ['control_plane_threads', 'int', 2],
  ['packet_shards_per_worker', 'int', 1],
  ['packet_shard_queue_capacity', 'int', 2048],
  ['packet_shard_queue_max_bytes', 'int', 67_108_864],
  ['reuseport', 'bool', true],
  ['pin_workers', 'bool', false],
  ['global_inflight_limit', 'int', 4096],
  ['per_upstream_inflight_limit', 'int', 1024],
  ['per_backend_inflight_limit', 'int', 64],
  ['inflight_acquire_wait_ms', 'int', 0],
  ['backend_body_total_timeout_ms', 'int', 30_000, 'backend_total_request_timeout_ms bounds the whole exchange'],
  ['h2_pool_max_idle_per_backend', 'int', 256],
  ['h2_pool_idle_timeout_ms', 'int', 90_000],
  ['backend_dns_refresh_enabled', 'bool', false, 'names are always resolved again by their TTL'],
  ['backend_dns_refresh_interval_ms', 'int', 30_000, 'names are always resolved again by their TTL'],
  ['new_connections_burst', 'int', 500],
  ['quic_initial_max_data', 'int', 10_000_000, "the connection's window follows from quic_initial_max_stream_data"],
  ['quic_initial_max_streams_uni', 'int', 100, 'HTTP/3 needs three of them'],
  ['max_response_body_bytes', 'int', 104_857_600],
  ['request_buffer_global_cap_bytes', 'int', 67_108_864],
  ['unknown_length_response_prebuffer_bytes', 'int', 2_097_152, 'responses are streamed'],
];

const RESILIENCE: readonly Later[] = [
  ['adaptive_admission.enabled', 'bool', true],
  ['adaptive_admission.min_limit', 'int', 64],
  ['adaptive_admission.max_limit', 'int', null],
  ['adaptive_admission.decrease_step', 'int', 16],
  ['adaptive_admission.increase_step', 'int', 16],
  ['adaptive_admission.high_latency_ms', 'int', 500],
  ['circuit_breaker.enabled', 'bool', true],
  ['circuit_breaker.failure_threshold', 'int', 3],
  ['circuit_breaker.open_ms', 'int', 30_000],
  ['circuit_breaker.half_open_max_probes', 'int', 1],
  ['retry_budget.enabled', 'bool', true],
  ['retry_budget.ratio_percent', 'int', 10],
  ['retry_budget.per_route_ratio_percent', 'map', {}],
  ['hedging.enabled', 'bool', false],
  ['hedging.delay_ms', 'int', 100],
  ['hedging.safe_methods', 'list', ['GET', 'HEAD']],
  ['hedging.route_allowlist', 'list', []],
  ['brownout.enabled', 'bool', true],
  ['brownout.trigger_inflight_percent', 'int', 90],
  ['brownout.recover_inflight_percent', 'int', 60],
  ['brownout.core_routes', 'list', []],
  ['route_queue.default_cap', 'int', 512],
  ['route_queue.global_cap', 'int', 2048],
  ['route_queue.shed_retry_after_seconds', 'int', 1],
  ['route_queue.caps', 'map', {}],
  ['protocol.allow_0rtt', 'bool', false],
  ['protocol.early_data_safe_methods', 'list', ['GET', 'HEAD']],
  ['protocol.enforce_authority_host_match', 'bool', true],
  ['protocol.allowed_methods', 'list', []],
  ['protocol.denied_path_prefixes', 'list', []],
  ['protocol.allow_connect', 'bool', false],
  ['protocol.connect_allowed_ports', 'list', []],
  ['protocol.connect_allowed_authorities', 'list', []],
  ['scoped_rate_limits', 'list', []],
  ['watchdog.enabled', 'bool', false],
  ['watchdog.check_interval_ms', 'int', 1000],
  ['watchdog.poll_stall_timeout_ms', 'int', 5000],
  ['watchdog.timeout_error_rate_percent', 'int', 60],
  ['watchdog.min_requests_per_window', 'int', 20],
  ['watchdog.overload_inflight_percent', 'int', 95],
  ['watchdog.unhealthy_consecutive_windows', 'int', 3],
  ['watchdog.drain_grace_ms', 'int', 8000],
  ['watchdog.restart_cooldown_ms', 'int', 120_000],
  ['watchdog.restart_command', 'list', []],
  ['watchdog.restart_hook', 'text', null, 'it was refused before, too'],
  ['quota.enabled', 'bool', false],
  ['quota.enforcement', 'text', 'enforce'],
  ['quota.backend_failure_policy', 'text', 'fail_closed'],
  ['quota.backend.kind', 'text', 'in_memory'],
  ['quota.backend.url', 'text', null],
  ['quota.backend.key_prefix', 'text', 'impulse:quota'],
  ['quota.backend.connect_timeout_ms', 'int', 250],
  ['quota.backend.command_timeout_ms', 'int', 100],
  ['quota.backend.max_inflight', 'int', 1024],
  ['quota.local_fallback', 'map', null],
  ['quota.policies', 'list', []],
];

const OBSERVABILITY: readonly Later[] = [
  ['metrics.path', 'text', '/metrics'],
  ['metrics.max_connections', 'int', 512],
  ['metrics.connection_timeout_ms', 'int', 30_000],
  ['control_api.health_path', 'text', '/health'],
  ['control_api.ready_path', 'text', '/ready'],
  ['control_api.runtime_path', 'text', '/admin/runtime'],
  ['control_api.restart_path', 'text', '/admin/runtime/restart'],
  ['control_api.reload_path', 'text', '/admin/runtime/reload', 'files are watched, and HUP reads them at once'],
  ['control_api.reload_certs_path', 'text', '/admin/runtime/reload-certs', 'certificates are watched, and HUP reads them at once'],
  ['control_api.auth_token', 'text', null, 'put the token in a file and give --admin-token-file'],
  ['control_api.auth_token_ref', 'text', null, 'put the token in a file and give --admin-token-file'],
  ['control_api.tls', 'map', null],
  ['control_api.auth.bearer_tokens', 'list', [], 'put one token in a file and give --admin-token-file'],
  ['control_api.auth.identity_source', 'map', null],
  ['control_api.authorization.protect_health', 'bool', false],
  ['control_api.authorization.protect_ready', 'bool', false],
  ['control_api.authorization.runtime_read_role', 'text', 'viewer'],
  ['control_api.authorization.runtime_mutate_role', 'text', 'operator'],
  ['control_api.authorization.restart_role', 'text', 'admin'],
  ['control_api.ip_allowlist.cidrs', 'list', []],
  ['control_api.ip_allowlist.trusted_proxy_cidrs', 'list', []],
  ['control_api.ip_allowlist.trust_proxy_headers', 'bool', false],
  ['control_api.audit.enabled', 'bool', false],
  ['control_api.audit.format', 'text', 'json'],
  ['control_api.audit.sink', 'text', 'log'],
  ['control_api.audit.file_path', 'text', null],
  ['control_api.max_connections', 'int', 256],
  ['control_api.connection_timeout_ms', 'int', 30_000],
  ['tracing.enabled', 'bool', false],
  ['tracing.service_name', 'text', 'impulse'],
  ['tracing.otlp_endpoint', 'text', null],
  ['tracing.sample_ratio', 'int', 1],
  ['routing.enabled', 'bool', false],
  ['routing.include_reason', 'bool', true],
  ['routing.expose_header', 'bool', false],
  ['routing.header_name', 'text', 'x-impulse-route-decision'],
];

export const CLASSIC_KEYS: readonly ClassicKey[] = [
  ...yes('', [['version', 'int', 1, 'only 1 is known']]),
  ...listen('listen.'),
  ...yes('', [['listeners', 'list', [], 'one Listener each; `listen` is not used then']]),
  ...listen('listeners[].'),
  ...yes('', [['upstream', 'map', undefined, 'one Upstream each: `api_pool` becomes `api-pool`']]),
  ...yes('upstream.*.', [
    ['route.host', 'text', null, 'Upstream hostnames; absent: "*"'],
    ['route.path_prefix', 'text', null, 'Upstream matches[0].path, of type Prefix (by segment)'],
    ['route.method', 'text', null, 'Upstream matches[0].methods'],
    ['backends', 'list', undefined, 'Upstream backends[0].addresses'],
    ['backends[].id', 'text', undefined, 'name of the address'],
    [
      'backends[].address',
      'text',
      undefined,
      'address; https:// is HTTP/2 over TLS, h2c:// HTTP/2 in clear text, none as https:// (as h2c:// where verify_certificates is false), http:// not supported yet',
    ],
    ['backends[].weight', 'int', 100, 'weight of the address'],
    ['backends[].health_check', 'map', null, 'Upstream healthCheck: the same for all backends of a pool'],
    ['backends[].health_check.path', 'text', '/health', 'healthCheck.http.path'],
    ['backends[].health_check.interval', 'int', 5000, 'healthCheck.interval'],
    ['backends[].health_check.timeout_ms', 'int', 1000, 'healthCheck.timeout'],
    ['backends[].health_check.failure_threshold', 'int', 3, 'healthCheck.unhealthyThreshold'],
    ['backends[].health_check.success_threshold', 'int', 2, 'healthCheck.healthyThreshold'],
    ['backends[].health_check.cooldown_ms', 'int', 5000, 'healthCheck.cooldown', '0s'],
  ]),
  ...balancing('upstream.*.load_balancing.'),
  ...later('upstream.*.', [
    ['host_policy.mode', 'text', 'pass-through'],
    ['host_policy.host', 'text', null],
    ['forwarded_headers.mode', 'text', 'overwrite', 'Listener forwarded.trust says whose fields are kept'],
  ]),
  ...upstreamTls('upstream.*.tls.'),
  ...later('upstream.*.auth.', AUTH),
  ...upstreamTls('upstream_tls.'),
  ...balancing('load_balancing.'),
  ...yes('log.', [
    ['level', 'text', 'info', '--log-level'],
    ['format', 'text', 'plain', '--log-format', 'plain on a terminal, else json'],
    ['file.enabled', 'bool', false, '--log-file'],
    ['file.path', 'text', null, '--log-file'],
  ]),
  ...later('security.privileges.', [
    ['enabled', 'bool', true, 'start it as the user that it should run as'],
    ['user', 'text', 'nobody', 'start it as the user that it should run as'],
    ['group', 'text', 'nogroup', 'start it as the user that it should run as'],
  ]),
  ...later('secrets.', [
    ['default_provider', 'text', null],
    ['providers', 'map', {}],
  ]),
  ...yes('performance.', [
    ['worker_threads', 'int', 1, '--workers'],
    ['shutdown_drain_timeout_ms', 'int', 5000, '--drain-timeout', '30s'],
    ['udp_recv_buffer_bytes', 'int', 8_388_608, '--udp-receive-buffer'],
    ['udp_send_buffer_bytes', 'int', 8_388_608, '--udp-send-buffer'],
    ['new_connections_per_sec', 'int', 2000, 'Listener limits.handshakesPerSecond'],
    ['max_active_connections', 'int', 20_000, 'Listener limits.connections, times worker_threads'],
    ['max_request_body_bytes', 'int', 1_000_000, 'Listener limits.requestBody', '0'],
    ['client_body_idle_timeout_ms', 'int', 10_000, 'Listener limits.bodyIdleTimeout', '30s'],
    ['quic_max_idle_timeout_ms', 'int', 5000, 'Listener quic.idleTimeout', '30s'],
    ['quic_initial_max_stream_data', 'int', 1_000_000, 'Listener quic.streamWindow', '1Mi'],
    ['quic_initial_max_streams_bidi', 'int', 100, 'Listener quic.maxStreams', '128'],
    ['backend_connect_timeout_ms', 'int', 500, 'Upstream timeouts.connect', '1s'],
    ['backend_timeout_ms', 'int', 2000, 'Upstream timeouts.response', '30s'],
    ['backend_body_idle_timeout_ms', 'int', 2000, 'Upstream timeouts.idle', '5m'],
    ['backend_total_request_timeout_ms', 'int', 35_000, 'Upstream timeouts.request', '0s'],
  ]),
  ...later('performance.', PERFORMANCE),
  ...yes('resilience.protocol.', [
    ['max_headers_count', 'int', 128, 'Listener limits.headerCount'],
    ['max_headers_bytes', 'int', 16_384, 'Listener limits.headerBytes', '64Ki'],
  ]),
  ...later('resilience.', RESILIENCE),
  ...yes('observability.', [
    ['metrics.enabled', 'bool', false, '--metrics', 'true'],
    ['metrics.required', 'bool', false, 'nothing: an address that cannot be bound always stops the start'],
    ['metrics.address', 'text', '127.0.0.1', '--metrics'],
    ['metrics.allow_non_loopback', 'bool', false, 'leave to bind --metrics beyond loopback'],
    ['metrics.port', 'int', 9901, '--metrics'],
    ['control_api.enabled', 'bool', false, '--admin', 'true'],
    ['control_api.required', 'bool', false, 'nothing: an address that cannot be bound always stops the start'],
    ['control_api.address', 'text', '127.0.0.1', '--admin'],
    ['control_api.port', 'int', 9902, '--admin'],
  ]),
  ...later('observability.', OBSERVABILITY),
];
