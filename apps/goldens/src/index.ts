// `pnpm goldens`: connects the command to the process. Standard output belongs to the result alone: whatever else is
// written there by code under test goes to standard error.
import { main } from './main.js'

const stdout = process.stdout.write.bind(process.stdout)
process.stdout.write = process.stderr.write.bind(process.stderr) as typeof process.stdout.write

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // the reader went away (`| head`): there is nobody left to tell
  if (error.code === 'EPIPE') process.exit(1)
  throw error
})

// pnpm runs scripts in the root of the workspace; DIRs are meant from where the user stands
const { npm_lifecycle_event: script, INIT_CWD: userFolder } = process.env
const cwd = script === 'goldens' && userFolder ? userFolder : process.cwd()

const code = await main(process.argv.slice(2), {
  cwd,
  out: (text) => void stdout(text),
  err: (text) => void process.stderr.write(text),
}).catch((error: unknown) => {
  process.stderr.write(`goldens: ${error instanceof Error ? error.message : String(error)}\n`)
  return 1
})
// an adapter may leave a worker or a socket behind: flush, then end
stdout('', () => process.exit(code))
