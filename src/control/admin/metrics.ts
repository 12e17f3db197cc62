/** What the main process counts by itself, beside what the workers count (contract/cells.ts). */
import { WORKER_METRICS, type MetricFacts, type WorkerMetric } from '../../contract/cells.ts';

export const MAIN_METRICS = {
  endpoint_healthy: {
    type: 'gauge',
    labels: ['upstream', 'endpoint'],
    help: '1 while the active health check holds the endpoint for healthy, else 0.',
  },
  health_checks_total: { type: 'counter', labels: ['upstream', 'result', 'reason'], help: 'Active health checks.' },
  certificate_expiry_timestamp_seconds: {
    type: 'gauge',
    labels: ['listener', 'name'],
    help: 'When the certificate expires, in seconds since the epoch.',
  },
  config_apply_total: {
    type: 'counter',
    labels: ['result'],
    help: 'Changes of configuration: applied, invalid (the last good one stays), failed.',
  },
  config_last_success_timestamp_seconds: {
    type: 'gauge',
    labels: [],
    help: 'When a configuration was applied last, in seconds since the epoch.',
  },
  config_up_to_date: {
    type: 'gauge',
    labels: [],
    help: '1 while the configuration that was seen last serves, 0 while it was refused or failed and the one before it serves.',
  },
  config_resources: { type: 'gauge', labels: ['kind', 'accepted'], help: 'Resources of the configuration that serves.' },
  config_apply_duration_seconds: { type: 'histogram', labels: [], help: 'Change seen to the last worker’s acknowledgement.' },
  worker_restarts_total: {
    type: 'counter',
    labels: ['reason'],
    help: 'Worker processes that ended and were replaced: exit, signal, hung, start, load_silent, load_failed, switch_silent, memory_soft, memory_hard.',
  },
  kubernetes_watch_lists_total: {
    type: 'counter',
    labels: ['kind'],
    help: 'Complete lists taken from the API server: at the start, after 410, and as a safety net.',
  },
  kubernetes_watch_reconnects_total: { type: 'counter', labels: ['kind'], help: 'Watches opened again.' },
  kubernetes_watch_events_total: { type: 'counter', labels: ['kind'], help: 'Events received, bookmarks included.' },
  kubernetes_watch_errors_total: {
    type: 'counter',
    labels: ['kind', 'reason'],
    help: 'Lists and watches that failed: gone, unauthorized, forbidden, not_found, throttled, server, timeout, connection, malformed, too_large.',
  },
  kubernetes_watch_objects: { type: 'gauge', labels: ['kind'], help: 'Objects held.' },
  kubernetes_watch_last_event_timestamp_seconds: {
    type: 'gauge',
    labels: ['kind'],
    help: 'When the API server was last heard of, in seconds since the epoch.',
  },
  kubernetes_watch_synced: { type: 'gauge', labels: ['kind'], help: '1 once a complete list is in.' },
  kubernetes_status_writes_total: {
    type: 'counter',
    labels: ['kind', 'result'],
    help: 'Writes of statuses: written, conflict, gone, failed.',
  },
  kubernetes_events_total: { type: 'counter', labels: ['result'], help: 'Events about objects: written, repeated, dropped, failed.' },
  leader: { type: 'gauge', labels: [], help: '1 while this process holds the lease and writes statuses.' },
  worker_up: { type: 'gauge', labels: ['worker'], help: '1 while the worker’s process is up.' },
  worker_memory_bytes: { type: 'gauge', labels: ['worker'], help: 'Resident memory of the worker’s process, as of its last heartbeat.' },
  build_info: { type: 'gauge', labels: ['version', 'engine', 'engine_version', 'node'], help: 'Always 1; the labels say what runs.' },
} as const satisfies Record<string, MetricFacts>;

export type MainMetric = keyof typeof MAIN_METRICS;
export type MetricName = WorkerMetric | MainMetric;

export const METRICS: Readonly<Record<MetricName, MetricFacts>> = { ...WORKER_METRICS, ...MAIN_METRICS };
export const METRIC_NAMES = Object.keys(METRICS) as readonly MetricName[];
export const PREFIX = 'spooky_';
