// Runs the first program of every README from the built packages and compares what it prints with the README's text.
// A program is a ```ts block; its output is the ```text block that follows. Programs are type-checked against the
// published declarations too. Nothing here knows a package by name.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { transform } from 'esbuild'
import { type Gate, packageTable, publishedName, root } from './workspace.js'

export interface Program {
  code: string
  expected: string
  /** Line of the README where the program starts. */
  line: number
  /** Line of the README where its output starts. */
  outputLine: number
}

/** The first ts block of a README and the text block after it; a string says what is missing. */
export function programOf(markdown: string): Program | string {
  const blocks: { language: string; body: string; line: number }[] = []
  let open: { language: string; body: string[]; line: number } | undefined
  markdown.split(/\r?\n/).forEach((line, index) => {
    const fence = /^```\s*([\w-]*)/.exec(line)
    if (open && line.trim() === '```') {
      blocks.push({ ...open, body: open.body.join('\n') })
      open = undefined
    } else if (open) open.body.push(line)
    else if (fence) open = { language: fence[1] ?? '', body: [], line: index + 2 }
  })
  if (open) return `the block at line ${open.line - 1} is never closed`
  const at = blocks.findIndex((block) => block.language === 'ts')
  const program = blocks[at]
  if (!program) return 'there is no ```ts block: every README shows one program that runs'
  const output = blocks[at + 1]
  if (output?.language !== 'text')
    return `the program at line ${program.line} is not followed by a \`\`\`text block with its output`
  return { code: program.body, expected: output.body, line: program.line, outputLine: output.line }
}

const lines = (text: string) =>
  text
    .replace(/\s+$/, '')
    .split(/\r?\n/)
    .map((line) => line.trimEnd())

/** Where two outputs part, as lines of a diff; `[]` when they agree (blanks at line ends do not count). */
export function outputDiff(expected: string, actual: string): string[] {
  const want = lines(expected)
  const got = lines(actual)
  const diff: string[] = []
  for (let i = 0; i < Math.max(want.length, got.length); i++) {
    if (want[i] === got[i]) continue
    if (want[i] !== undefined) diff.push(`  line ${i + 1}: README   ${want[i]}`)
    if (got[i] !== undefined) diff.push(`  line ${i + 1}: printed  ${got[i]}`)
  }
  return diff
}

interface Finished {
  code: number | null
  stdout: string
  stderr: string
}

const run = (command: string, args: string[], cwd: string, seconds: number): Promise<Finished> =>
  new Promise((done) => {
    const child = spawn(command, args, {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    })
    const out: Finished = { code: null, stdout: '', stderr: '' }
    child.stdout.on('data', (chunk) => (out.stdout += chunk))
    child.stderr.on('data', (chunk) => (out.stderr += chunk))
    const timer = setTimeout(() => {
      out.stderr += `\nstopped after ${seconds} s`
      child.kill('SIGKILL')
    }, seconds * 1000)
    child.on('close', (code) => {
      clearTimeout(timer)
      done({ ...out, code })
    })
  })

/** Puts what a program printed in the place of what its README said it prints. */
export function withOutput(markdown: string, { expected, outputLine }: Program, printed: string): string {
  const all = markdown.split(/\r?\n/)
  all.splice(outputLine - 1, expected.split('\n').length, ...lines(printed))
  return all.join('\n')
}

/**
 * Runs the programs of the README files given (paths from the root) in a folder that sees only what a user would have
 * installed: the published packages by name. Returns one entry per README that is wrong; with `write` another output is
 * no error but goes into the README, for a reader to judge.
 */
export async function readmeErrors(
  readmes: string[],
  { typecheck = true, write = false } = {},
): Promise<string[]> {
  const folder = mkdtempSync(join(root, '.readmes-'))
  const errors: string[] = []
  try {
    mkdirSync(join(folder, 'node_modules/@heed'), { recursive: true })
    for (const name of Object.keys(packageTable))
      symlinkSync(join(root, 'packages', name), join(folder, 'node_modules', publishedName(name)), 'dir')
    symlinkSync(join(root, 'node_modules/@types'), join(folder, 'node_modules/@types'), 'dir')
    writeFileSync(join(folder, 'package.json'), '{ "type": "module", "private": true }\n')

    const programs = new Map<string, Program & { readme: string }>()
    for (const readme of readmes) {
      const path = join(root, readme)
      const program = existsSync(path) ? programOf(readFileSync(path, 'utf8')) : 'there is no such file'
      if (typeof program === 'string') errors.push(`${readme}: ${program}`)
      else {
        const file = `${readme.replace(/[^\w-]+/g, '_')}.ts`
        programs.set(file, { ...program, readme })
        // blank lines keep the README's line numbers in every message; the export makes it a module
        writeFileSync(join(folder, file), `${'\n'.repeat(program.line - 1)}${program.code}\nexport {}\n`)
      }
    }

    if (typecheck && programs.size) {
      const options = { noEmit: true, types: ['node'], allowImportingTsExtensions: false }
      writeFileSync(
        join(folder, 'tsconfig.json'),
        JSON.stringify({ extends: '../tsconfig.base.json', compilerOptions: options, include: ['*.ts'] }),
      )
      const tsc = await run(
        process.execPath,
        [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json'],
        folder,
        120,
      )
      for (const line of tsc.stdout.split('\n').filter((line) => line.includes('error TS'))) {
        const [, file = '', rest] = /^([^(]+)(.*)$/.exec(line) ?? []
        errors.push(`${programs.get(file)?.readme ?? relative(root, join(folder, file))}${rest}`)
      }
    }

    for (const [file, program] of programs) {
      const { readme, expected, line } = program
      const source = readFileSync(join(folder, file), 'utf8')
      const { code } = await transform(source, {
        loader: 'ts',
        format: 'esm',
        target: 'es2022',
        sourcefile: readme,
      })
      const home = join(folder, file.replace(/\.ts$/, ''))
      mkdirSync(home)
      writeFileSync(join(home, 'program.mjs'), code)
      const result = await run(process.execPath, ['program.mjs'], home, 120)
      if (result.code !== 0)
        errors.push(
          `${readme}:${line} the program fails (exit code ${result.code}):\n${result.stderr.trim().slice(-2000)}`,
        )
      else {
        const diff = outputDiff(expected, result.stdout)
        if (diff.length && write) {
          const path = join(root, readme)
          writeFileSync(path, withOutput(readFileSync(path, 'utf8'), program, result.stdout))
        } else if (diff.length)
          errors.push(`${readme}:${line} prints something else than the README says:\n${diff.join('\n')}`)
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return errors
}

const all = () => ['README.md', ...Object.keys(packageTable).map((name) => `packages/${name}/README.md`)]

export const readmes: Gate = () => readmeErrors(all())
/** The same, but an output that differs is written into its README. */
export const writeReadmes: Gate = () => readmeErrors(all(), { write: true })
