/** What an error says; by its shape, since it may be of another realm, where `instanceof` says no. */
export const messageOf = (e: unknown): string => String((e as { readonly message?: unknown } | null | undefined)?.message ?? e);
