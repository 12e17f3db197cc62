/** A backend that writes down every request it gets; scripted, or honest. */
import { startH2Server, type H2Request, type H2Server, type H2ServerOptions, type Rows } from './h2server.ts';

/** What a test says about an answer: a body, or a whole one. */
export type Script = (r: H2Request) => void;

export class RecordingBackend {
  readonly server: H2Server;
  private waiters: { count: number; done: () => void }[];

  constructor(server: H2Server, waiters: { count: number; done: () => void }[]) {
    this.server = server;
    this.waiters = waiters;
  }

  get address(): string {
    return this.server.address;
  }

  get requests(): readonly H2Request[] {
    return this.server.requests;
  }

  get last(): H2Request {
    return this.server.requests.at(-1) as H2Request;
  }

  /** Resolves when so many requests have begun. */
  async began(count = 1): Promise<H2Request> {
    if (this.requests.length < count) await new Promise<void>((done) => this.waiters.push({ count, done }));
    return this.requests[count - 1] as H2Request;
  }

  close(): Promise<void> {
    return this.server.close();
  }
}

/** `script` answers each request once it is complete; with `early` it gets each request at its head. Without one, the server is honest. */
export async function backend(
  script: Script | null = null,
  options: H2ServerOptions & { readonly early?: boolean } = {},
): Promise<RecordingBackend> {
  const waiters: { count: number; done: () => void }[] = [];
  const server: H2Server = await startH2Server({
    ...options,
    onRequest(r) {
      for (const w of waiters.splice(0)) {
        // The server records a request before it asks: this one counts.
        if (server.requests.length >= w.count) w.done();
        else waiters.push(w);
      }
      if (options.onRequest?.(r) === true) return true;
      if (script === null || options.early !== true) return false;
      script(r);
      return true;
    },
    onRequestEnd(r) {
      if (options.onRequestEnd?.(r) === true) return true;
      if (script === null || options.early === true) return options.early === true;
      script(r);
      return true;
    },
  });
  return new RecordingBackend(server, waiters);
}

export const named = (name: string): Promise<RecordingBackend> => backend((r) => r.answer(200, name));

export const fieldsOf = (r: H2Request): Record<string, string> => Object.fromEntries(r.fields as Rows);
