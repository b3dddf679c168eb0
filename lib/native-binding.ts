// The native part as one environment (main thread or worker) uses it: loaded at first use, its
// messages routed to requests and handles, the event loop kept alive exactly while something is
// owed.
import { Message, type Native, type NativeError } from './native.js'
import { loadAddon } from './native-addon.js'

/** Other runtimes name functions of libuv that end the process when they are called. */
function offersLibuv(): boolean {
  const { uv, bun, deno } = process.versions
  return uv !== undefined && bun === undefined && deno === undefined
}

/** Receives what native reports about one handle. Called from the event loop, must not throw. */
export interface HandleSink {
  onProgress(durableLsn: number): void
  onPoisoned(error: NativeError, durableLsn: number, firstNotWrittenLsn: number): void
}

/** Takes the answer of a request, exactly once, before any microtask that follows it. */
export type Settle = (error: NativeError | null, result: unknown) => void

/**
 * The environment's side of the native surface. Invariant: the event loop is kept alive if and only
 * if at least one request is unanswered or one holder (see `hold`) still waits.
 */
export class NativeBinding {
  readonly native: Native
  readonly #requests = new Map<number, Settle>()
  readonly #sinks = new Map<number, HandleSink>()
  #lastRequestId = 0
  #holds = 0

  constructor(native: Native) {
    this.native = native
    native.setup((kind, id, a, b, c) => this.#dispatch(kind, id, a, b, c), offersLibuv())
  }

  /** Something is owed to the caller: the process must not exit before the matching `release`. */
  hold(): void {
    if (this.#holds++ === 0) this.native.keepAlive(true)
  }

  release(): void {
    if (--this.#holds === 0) this.native.keepAlive(false)
  }

  /** Starts a request; `start` hands the id to native, `settle` takes the answer. */
  request(start: (requestId: number) => void, settle: Settle): void {
    const id = ++this.#lastRequestId
    this.#requests.set(id, settle)
    this.hold()
    try {
      start(id)
    } catch (error) {
      this.#requests.delete(id)
      this.release()
      throw error
    }
  }

  attach(handle: number, sink: HandleSink): void {
    this.#sinks.set(handle, sink)
  }

  detach(handle: number): void {
    this.#sinks.delete(handle)
  }

  #dispatch(kind: number, id: number, a: unknown, b: unknown, c: unknown): void {
    switch (kind) {
      case Message.done: {
        const settle = this.#requests.get(id)
        if (settle === undefined) return
        this.#requests.delete(id)
        this.release()
        settle(a as NativeError | null, b)
        return
      }
      case Message.progress:
        // A handle closed meanwhile has been told everything by the answer to close.
        this.#sinks.get(id)?.onProgress(a as number)
        return
      case Message.poisoned:
        this.#sinks.get(id)?.onPoisoned(a as NativeError, b as number, c as number)
        return
    }
  }
}

let loaded: NativeBinding | undefined

/**
 * This environment's binding, loaded at first use: importing stonelog never fails for want of a
 * binary.
 * @throws {WalError} WAL_NO_NATIVE
 */
export function nativeBinding(): NativeBinding {
  loaded ??= new NativeBinding(loadAddon())
  return loaded
}
