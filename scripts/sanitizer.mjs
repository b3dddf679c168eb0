// Node itself is not sanitized; the addon is. So the sanitizer's runtime is loaded before Node, and
// the package is told to take the sanitized addon.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

const LIBRARIES = { asan: 'libasan.so', tsan: 'libtsan.so' }

// Leaks: V8 frees little at exit, and all of that would be reported; our own are the native tests'
// affair. UBSan's runtime is part of ASan's here.
const OPTIONS = {
  asan: {
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1:detect_stack_use_after_return=0',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  },
  // What Node's own threads do is invisible to TSan: only races inside of the addon count.
  tsan: { TSAN_OPTIONS: 'ignore_noninstrumented_modules=1:halt_on_error=1:abort_on_error=1' },
}

/** Runs Node with the runtime loaded; whether it works. */
function works(wrapper, env) {
  const [command, ...args] = [...wrapper, process.execPath, '-e', '0']
  return spawnSync(command, args, { env: { ...process.env, ...env } }).status === 0
}

/**
 * How to run Node with a sanitized addon.
 * @param {'asan' | 'tsan'} variant
 * @returns {{ wrapper: string[], env: Record<string, string>, missing?: string }} what stands
 *   before the command, what to add to the environment, and why it cannot be done here
 */
export function preload(variant) {
  const nothing = { wrapper: [], env: {} }
  const name = LIBRARIES[variant]
  if (process.platform !== 'linux') return { ...nothing, missing: 'it preloads a library: Linux' }
  const found = spawnSync('c++', [`-print-file-name=${name}`], { encoding: 'utf8' })
  const library = found.stdout?.trim() ?? name
  if (!library.includes('/') || !existsSync(library)) {
    return { ...nothing, missing: `the compiler c++ brings no ${name}` }
  }
  const env = {
    LD_PRELOAD: library,
    STONELOG_PREBUILD: join(root, 'build', variant),
    STONELOG_SANITIZER: variant,
    ...OPTIONS[variant],
  }
  // TSan's shadow memory and a heap at a random place may collide.
  const wrapper = variant === 'tsan' ? ['setarch', '-R'] : []
  if (!works(wrapper, env)) return { ...nothing, missing: `${name} does not load into Node` }
  return { wrapper, env }
}
