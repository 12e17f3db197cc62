/** Times as the API server reads them. */

/** metav1.Time: whole seconds. */
export const secondsTime = (wall: number): string => `${new Date(wall).toISOString().slice(0, 19)}Z`;

/** metav1.MicroTime: exactly six digits of a second, or the object is refused. */
export const microTime = (wall: number): string => new Date(wall).toISOString().replace(/Z$/, '000Z');
