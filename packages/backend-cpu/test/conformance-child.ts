/** Runs the conformance cases on the relaxed build with so many threads, in a process that may have been given an engine flag. */
import { testBackend } from '@heed/conformance'
import { cpu } from '../src/index.js'

async function main(): Promise<void> {
  const threads = Number(process.argv[2])
  const tests: { name: string; body: () => Promise<void> }[] = []
  let end: () => void | Promise<void> = () => {}
  let scope = ''
  testBackend(() => cpu({ build: 'relaxed', threads }), {
    describe(name, body) {
      scope = name
      body()
    },
    it: (name, body) => void tests.push({ name: `${scope}: ${name}`, body }),
    afterAll(body) {
      end = body
    },
  })
  let passed = 0
  for (const { name, body } of tests)
    try {
      await body()
      passed++
    } catch (error) {
      console.error(`${name}: ${(error as Error).message}`)
      process.exitCode = 1
    }
  await end()
  console.log(`${passed} passed`)
}

void main()
