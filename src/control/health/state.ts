/** The verdict on one endpoint: consecutive results against thresholds, with a pause after turning unhealthy. */
import type { HealthCheckPart } from '../../contract/snapshot/parts.ts';

export class HealthState {
  healthy: boolean;
  /** Of the last check; '' before the first. */
  lastReason = '';
  /** On the clock; -1 before the first. */
  checkedAt = -1;
  private readonly part: HealthCheckPart;
  private successes = 0;
  private failures = 0;
  private cooldownUntil = -Infinity;

  constructor(part: HealthCheckPart) {
    this.part = part;
    this.healthy = part.initial === 'Healthy';
  }

  /** Whether the verdict has changed. */
  result(success: boolean, reason: string, now: number): boolean {
    this.lastReason = reason;
    this.checkedAt = now;
    return success ? this.succeeded(now) : this.failed(now);
  }

  private succeeded(now: number): boolean {
    this.failures = 0;
    if (this.healthy || now < this.cooldownUntil) return false;
    this.successes++;
    if (this.successes < this.part.healthyThreshold) return false;
    this.healthy = true;
    this.successes = 0;
    return true;
  }

  private failed(now: number): boolean {
    this.successes = 0;
    if (!this.healthy) return false;
    this.failures++;
    if (this.failures < this.part.unhealthyThreshold) return false;
    this.healthy = false;
    this.failures = 0;
    this.cooldownUntil = now + this.part.cooldownMs;
    return true;
  }
}
