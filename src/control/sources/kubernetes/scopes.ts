/** Where is asked: everywhere, or namespace by namespace. */

/** The namespaces that are asked for, each with a watch of its own; null alone: one for all. */
export const scopesOf = (namespaces: readonly string[] | null, own: string): readonly (string | null)[] =>
  namespaces === null ? [null] : [...new Set([own, ...namespaces])];

/** Where Secrets and ConfigMaps may be read. Nowhere else are they asked for. */
export function secretScopes(scopes: readonly (string | null)[], opted: ReadonlySet<string> | null): readonly (string | null)[] {
  if (opted === null) return scopes;
  return scopes.includes(null) ? [...opted] : [...opted].filter((namespace) => scopes.includes(namespace));
}
