// The mutants: one per defence, the core without it. `find` must stand exactly once in its file, so
// that a change of the core that moves the defence is noticed here. `by` is the native test that
// covers the defence, or 'simulator'; should it miss, everything else is tried.
import { COMMIT_MUTANTS } from './commit.mjs'
import { FILE_MUTANTS } from './files.mjs'
import { FORMAT_MUTANTS } from './format.mjs'
import { RECOVERY_MUTANTS } from './recovery.mjs'

/**
 * @typedef {{ file: string, find: string, replace: string }} Edit
 * @typedef {Edit & { name: string, defence: string, danger: string, by: string, and?: Edit }}
 *   Mutant
 */

/** @type {Mutant[]} */
export const MUTANTS = [...COMMIT_MUTANTS, ...FORMAT_MUTANTS, ...RECOVERY_MUTANTS, ...FILE_MUTANTS]
