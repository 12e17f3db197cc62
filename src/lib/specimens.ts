/**
 * One object of each kind that requests are made of, the last that was used. Code that V8 has compiled refers weakly to the shapes of the objects that it
 * was compiled for, and is thrown away when a collection finds none of a shape: the collection of an idle worker, which has no requests, would make all that
 * serves them slow again, for tens of thousands of requests. What hangs on these objects is kept as well: a stream has its connection.
 */
interface Specimens {
  exchange: object | null;
  backendStream: object | null;
  quicStream: object | null;
  immediate: object | null;
}

export const specimens: Specimens = { exchange: null, backendStream: null, quicStream: null, immediate: null };
