/** The closed table of condition reasons; the first of each type is the good one. */
export const CONDITION_REASONS = {
  Accepted: ['Valid', 'NotAllowed', 'NoMatchingHostname', 'PortConflict', 'Conflicted', 'Invalid'],
  ResolvedRefs: ['ResolvedRefs', 'RefNotPermitted', 'InvalidCertificate', 'InvalidBackend'],
  Programmed: ['Programmed', 'AddressNotBound', 'Pending'],
  Published: ['Published', 'PortNotPublished'],
  Conflicted: ['NoConflict', 'Conflict'],
} as const;

export type ConditionReasons = { readonly [T in keyof typeof CONDITION_REASONS]: (typeof CONDITION_REASONS)[T][number] };
