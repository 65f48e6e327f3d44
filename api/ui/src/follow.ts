// A job's statuses until it has ended: as the service tells them, or, where its stream of events does not come through, asked for.
import * as api from "./api";
import { events } from "./stream";
import { ended } from "./words";

/** Milliseconds between questions: often while something happens on the screen, rarely where nobody looks. */
const OFTEN = 1500;
const RARELY = 10_000;

/** Milliseconds after which a stream without its first event is held back on its way, and one without a sign of life is dead. */
const FIRST = 6_000;
const SILENCE = 40_000;

/** Hears what becomes of a job. */
export interface Listener {
  changed(status: api.JobStatus): void;
  /** The service cannot be asked now; in so many seconds it is asked again. */
  trouble(problem: api.Problem, seconds: number): void;
}

/** Follows the job until it has ended, and returns its last status, or until `signal` says to stop. */
export async function follow(id: string, signal: AbortSignal, listener: Listener): Promise<api.JobStatus | undefined> {
  const follower = new Follower(id, signal, listener);
  let troubles = 0;
  while (!signal.aborted && !follower.done) {
    const before = follower.heard;
    try {
      await follower.more();
    } catch (error) {
      if (signal.aborted) break;
      if (!(error instanceof api.Problem) || !error.passes) throw error;
      troubles = follower.heard > before ? 1 : troubles + 1;
      const seconds = error.retryAfter ?? Math.min(2 ** troubles, 30);
      listener.trouble(error, seconds);
      await pause(seconds * 1000, signal);
    }
  }
  return signal.aborted ? undefined : follower.last;
}

class Follower {
  last: api.JobStatus | undefined;
  heard = 0;
  private streams = true;
  private event: string | undefined;
  private tag: string | undefined;

  constructor(
    private readonly id: string,
    private readonly signal: AbortSignal,
    private readonly listener: Listener,
  ) {}

  get done(): boolean {
    return this.last !== undefined && ended(this.last);
  }

  async more(): Promise<void> {
    if (!this.streams) return this.ask();
    const heard = this.heard;
    // A proxy on the way may hold the events back, or the service may know nothing of them.
    if ((await this.listen()) === "no stream") this.streams = false;
    else if (!this.done) await pause(this.heard > heard ? 500 : OFTEN, this.signal);
  }

  /** Reads the stream of events until it ends, or nothing is heard for too long. */
  private async listen(): Promise<"ended" | "no stream"> {
    const stop = new AbortController();
    const signal = AbortSignal.any([this.signal, stop.signal]);
    // The first event comes at once, unless it is known.
    let timer = setTimeout(() => stop.abort(), this.event ? SILENCE : FIRST);
    try {
      const response = await api.events(this.id, signal, this.event);
      if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) return "no stream";
      for await (const event of events(response.body!)) {
        clearTimeout(timer);
        timer = setTimeout(() => stop.abort(), SILENCE);
        if (event?.name === "status") {
          this.event = event.id;
          this.change(JSON.parse(event.data) as api.JobStatus);
        }
      }
      return "ended";
    } catch (error) {
      if (stop.signal.aborted) return this.heard ? "ended" : "no stream";
      if (!(error instanceof api.Problem)) return "ended";
      if (error.code !== "job_not_found" && [404, 405, 406, 501].includes(error.status)) return "no stream";
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  private async ask(): Promise<void> {
    const answer = await api.status(this.id, this.tag);
    if (this.signal.aborted) return;
    if (answer) {
      this.tag = answer.tag;
      this.change(answer.status);
    }
    if (!this.done) await pause(document.hidden ? RARELY : OFTEN, this.signal);
  }

  private change(status: api.JobStatus): void {
    if (this.signal.aborted) return;
    this.heard += 1;
    this.last = status;
    this.listener.changed(status);
  }
}

/** Waits; shorter where `signal` says to stop, or the page is looked at again. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(finish, milliseconds);
    function finish(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", finish);
      document.removeEventListener("visibilitychange", seen);
      done();
    }
    function seen(): void {
      if (!document.hidden) finish();
    }
    signal.addEventListener("abort", finish);
    document.addEventListener("visibilitychange", seen);
  });
}
