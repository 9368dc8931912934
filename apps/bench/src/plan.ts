/** Which cases and runners a command line means; what it names and is not there is an error of one line. */
import { UsageError } from './errors.js'
import { matches } from './options.js'
import type { Case, Maker } from './work.js'

/**
 * The cases of a pattern, without the slow ones of --quick unless the pattern names one exactly.
 * @throws UsageError when none is left.
 */
export function chooseCases(all: readonly Case[], pattern: string | null, quick: boolean): readonly Case[] {
  const found = pattern === null ? all : all.filter((c) => matches(c.name, pattern))
  if (found.length === 0)
    throw new UsageError(`--case ${pattern} matches nothing; cases are ${all.map((c) => c.name).join(', ')}`)
  const chosen = quick ? found.filter((c) => !c.slow || c.name === pattern) : found
  if (chosen.length === 0)
    throw new UsageError(`--case ${pattern} matches only cases that --quick leaves out; drop --quick`)
  return chosen
}

/** @throws UsageError for a name that nobody has. */
export function chooseMakers<M extends Pick<Maker, 'name' | 'byDefault'>>(
  what: 'backend' | 'peer',
  all: readonly M[],
  names: readonly string[] | null,
): readonly M[] {
  if (names === null) return all.filter((m) => m.byDefault)
  for (const name of names)
    if (!all.some((m) => m.name === name))
      throw new UsageError(
        `unknown ${what} '${name}'; ${what}s are ${all.map((m) => m.name).join(', ')}${name.endsWith('/webgl') ? '; WebGL is measured with --page' : ''}`,
      )
  return all.filter((m) => names.includes(m.name))
}

/** Each count once; without a wish one thread and all cores, or one for a runner that stands aside. What has one thread runs once. */
export function threadCounts(
  maker: Pick<Maker, 'threaded' | 'aside'>,
  asked: readonly number[] | null,
  cores: number,
): readonly number[] {
  if (!maker.threaded || (maker.aside && asked === null)) return [1]
  return [...new Set(asked ?? [1, cores])]
}

/** Cases that are measured in one go: one, or several that are compared with it. */
export function groupsOf(chosen: readonly Case[]): Case[][] {
  const groups: Case[][] = []
  for (const c of chosen) {
    const group = groups.find(([first]) => first.name === c.base)
    if (group) group.push(c)
    else groups.push([c])
  }
  return groups
}
