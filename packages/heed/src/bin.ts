#!/usr/bin/env node
import { main } from './main.js'

// a reader that closed the pipe early (head, less) has what it wanted
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})
process.exitCode = await main(process.argv.slice(2))
