declare const brand: unique symbol;

/** Keeps values that look alike (ids, hashes, durations) from being taken for one another. */
export type Brand<T, B extends string> = T & { readonly [brand]: B };
